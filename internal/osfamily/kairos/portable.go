// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
	portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// checkPortable finds values of portable settings that have no way to the machine, and paths that are taken.
func checkPortable(report *osfamily.Report, in osfamily.Input) {
	kubelet := in.Config.Node.Kubelet
	for _, signal := range slices.Sorted(maps.Keys(kubelet.EvictionHard)) {
		if strings.Contains(kubelet.EvictionHard[signal], "%") {
			report.Errorf(fmt.Sprintf("%s[%s]", portable.KubeletEvictionHard, signal), "a percentage does not survive the unit of systemd that it becomes a word of: write a quantity like 2Gi")
		}
	}
	portable.CheckServers(report, in.Config.Registries)
	node.CheckReadOnly(report, in.Config.Files)
	taken := map[string]bool{}
	for _, f := range settingFiles(in) {
		taken[f.Path] = true
	}
	checkPaths(report, in.Config)
	for i, own := range in.Config.Files {
		if taken[own.Path] {
			report.Errorf(fmt.Sprintf("%s[%d].path", portable.Files, i), "Ingot writes %s itself: remove the file", own.Path)
		}
	}
}

// checkPaths refuses files and units that Kairos would take for something else, and those of Ingot.
func checkPaths(report *osfamily.Report, config bootstrapv1.IngotConfigSpec) {
	for i, own := range config.Files {
		for _, problem := range pathProblem(config.Kairos.Distribution, "the path", own.Path) {
			report.Errorf(fmt.Sprintf("%s[%d].path", portable.Files, i), "%s", problem)
		}
	}
	for i, own := range config.Units {
		for _, problem := range pathProblem(config.Kairos.Distribution, "the unit", unitFolder+own.Name) {
			report.Errorf(fmt.Sprintf("%s[%d].name", portable.Units, i), "%s", problem)
		}
	}
}

// settingPaths are the files that portable settings write.
func settingPaths(in osfamily.Input) map[string]bool {
	ours := map[string]bool{}
	for _, f := range slices.Concat(settingFiles(in), ownFiles(in), unitFiles(in.Config.Units)) {
		ours[f.Path] = true
	}
	return ours
}

// checkOverwritten refuses files of the user's cloud-config that are ours already. The user's come last, and would win.
func checkOverwritten(report *osfamily.Report, user document, ours map[string]bool) {
	check := func(at, name string) {
		if ours[name] {
			report.Errorf(configPath, "%s %q is written by portable settings, or by Ingot itself: write it in one place", at, name)
		}
	}
	for i, f := range user.WriteFiles {
		check(fmt.Sprintf("write_files[%d].path", i), f.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(user.Stages)) {
		for i, s := range user.Stages[name] {
			for j, f := range s.Files {
				check(fmt.Sprintf("stages.%s[%d].files[%d].path", name, i, j), f.Path)
			}
		}
	}
}

// settingStages write the portable settings before the system starts, at every boot. yip makes folders that are missing with
// the mode of the file, so they are made before.
func settingStages(in osfamily.Input) ([]stage, error) {
	files := systemFiles(in)
	registries, err := registryFiles(in)
	if err != nil {
		return nil, err
	}
	files = slices.Concat(files, registries, ownFiles(in), unitFiles(in.Config.Units))
	if len(files) == 0 && len(enabled(in.Config.Units)) == 0 {
		return nil, nil
	}
	var stages []stage
	if folders := foldersOf(files); len(folders) > 0 {
		stages = append(stages, stage{Name: "Ingot: folders of settings", Commands: []string{"mkdir -p " + strings.Join(folders, " ")}})
	}
	if len(files) > 0 {
		stages = append(stages, stage{Name: "Ingot: settings", Files: files})
	}
	if names := enabled(in.Config.Units); len(names) > 0 {
		stages = append(stages, stage{Name: "Ingot: units", OnlyServiceManager: "systemd", Systemctl: &systemctl{Enable: names}})
	}
	return stages, nil
}

func foldersOf(files []file) []string {
	folders := map[string]bool{}
	for _, f := range files {
		if folder := path.Dir(f.Path); folder != "/" && folder != "/etc" {
			folders[folder] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

// systemFiles are what every operating system reads in the same places, and the proxy of the agent.
func systemFiles(in osfamily.Input) []file {
	var files []file
	for _, f := range node.SystemFiles(in.Config) {
		files = append(files, newFile(f.Path, uint32(f.Mode), f.Data))
	}
	if environment := node.ProxyEnvironment(in); environment != "" {
		files = append(files, newFile(unitFolder+agentUnit(in)+".d/50-ingot-proxy.conf", 0o644, []byte(environment)))
	}
	return files
}

// settingFiles are those of all settings but files and units. What cannot be written yet is left out.
func settingFiles(in osfamily.Input) []file {
	registries, err := registryFiles(in)
	if err != nil {
		registries = nil // said already
	}
	return append(systemFiles(in), registries...)
}

// agentUnit is the unit that Kairos starts for a worker. Its containerd and its kubelet are parts of it.
func agentUnit(in osfamily.Input) string {
	if isK3s(in) {
		return "k3s-agent.service"
	}
	return "k0sworker.service"
}

func ownFiles(in osfamily.Input) []file {
	var files []file
	for _, own := range in.Config.Files {
		content, _ := portable.Content(own, in.Secrets)
		files = append(files, newFile(own.Path, uint32(portable.Mode(own)), content))
	}
	return files
}

func unitFiles(units []bootstrapv1.Unit) []file {
	var files []file
	for _, own := range units {
		if own.Contents != "" {
			files = append(files, newFile(unitFolder+own.Name, 0o644, []byte(own.Contents)))
		}
		for _, dropin := range own.Dropins {
			files = append(files, newFile(unitFolder+own.Name+".d/"+dropin.Name, 0o644, []byte(dropin.Contents)))
		}
	}
	return files
}

func enabled(units []bootstrapv1.Unit) []string {
	var names []string
	for _, own := range units {
		if ptr.Deref(own.Enabled, false) {
			names = append(names, own.Name)
		}
	}
	return names
}

// newFile says a content so that it arrives as it is. yip takes two braces for the begin of a template, and executes templates
// when it saves what the platform delivered as well as when it writes a file. The first finds none in base64; the second looks
// into what was encoded, so braces are escaped for it. YAML has no words for some bytes either.
func newFile(name string, mode uint32, data []byte) file {
	content := strings.ReplaceAll(string(data), "{{", `{{"{{"}}`)
	f := file{Path: name, Permissions: mode, Content: content}
	if strings.Contains(content, "{{") || !utf8.ValidString(content) || strings.ContainsFunc(content, unspeakable) {
		f.Encoding, f.Content = "b64", base64.StdEncoding.EncodeToString([]byte(content))
	}
	return f
}

func unspeakable(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }

// kubeletSettings are the flags of the kubelet that portable settings become.
func kubeletSettings(kubelet bootstrapv1.KubeletSettings) []string {
	var args []string
	if kubelet.MaxPods != nil {
		args = append(args, fmt.Sprintf("max-pods=%d", *kubelet.MaxPods))
	}
	if kubelet.PodPidsLimit != nil {
		args = append(args, fmt.Sprintf("pod-max-pids=%d", *kubelet.PodPidsLimit))
	}
	add := func(flag, between string, values map[string]string) {
		var words []string
		for _, key := range slices.Sorted(maps.Keys(values)) {
			words = append(words, key+between+values[key])
		}
		if len(words) > 0 {
			args = append(args, flag+"="+strings.Join(words, ","))
		}
	}
	add("system-reserved", "=", kubelet.SystemReserved)
	add("kube-reserved", "=", kubelet.KubeReserved)
	add("eviction-hard", "<", kubelet.EvictionHard)
	return args
}
