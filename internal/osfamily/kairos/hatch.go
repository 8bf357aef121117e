// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
)

const (
	configPath = "spec.kairos.cloudConfig"
	allow      = "; if it is meant to, set spec.selfUpdate: Allowed"
	readable   = "holds a secret, which whoever may read the config could read"
)

// userConfig reads the user's part. It is zero where something is wrong with it, and the report says what.
func userConfig(report *osfamily.Report, config bootstrapv1.IngotConfigSpec) document {
	text := config.Kairos.CloudConfig
	if text == "" {
		return document{}
	}
	if problem := cloudconfig.FormProblem(text, "#kairos-config", "#node-config"); problem != "" {
		report.Errorf(configPath, "%s", problem)
		return document{}
	}
	var tree map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &tree); err != nil {
		report.Errorf(configPath, "%s", cloudconfig.Message(err))
		return document{}
	}
	if problems := ownedKeys(tree); len(problems) > 0 {
		for _, problem := range problems {
			report.Errorf(configPath, "%s", problem)
		}
		return document{}
	}
	var user document
	if err := yaml.UnmarshalStrict([]byte(text), &user); err != nil {
		report.Errorf(configPath, "%s", cloudconfig.Message(err))
		return document{}
	}
	problems := user.problems(config.Kairos.Distribution)
	if config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		problems = append(problems, user.undone(text)...)
	}
	for _, problem := range problems {
		report.Errorf(configPath, "%s", problem)
	}
	return user
}

// ownedKeys finds keys of the first level that Ingot sets, or that do something else than configure a running machine.
func ownedKeys(tree map[string]any) []string {
	const join = "would let the machine join in another way than Ingot says"
	reasons := map[string]string{
		"cluster":    "is for a plug-in of Kairos that runs kubeadm itself, and again at every boot",
		"hostname":   "is the name of the Machine",
		"install":    "installs, and Ingot starts machines from an image that is installed",
		"k0s":        join,
		"k0s-worker": "is set by Ingot: use spec.node",
		"k3s":        join,
		"k3s-agent":  "is set by Ingot: use spec.node, and /etc/rancher/k3s/config.yaml for what k3s has beside it",
		"kubevip":    "is for control planes",
		"p2p":        "would let the machine choose its cluster and its role itself",
		"reset":      "is about a reset in place, and nodes are replaced",
		"upgrade":    "is about an upgrade in place, and nodes are replaced",
	}
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if reason, ok := reasons[strings.ToLower(key)]; ok {
			problems = append(problems, key+" "+reason)
		}
	}
	return problems
}

// knownStages are those that Kairos runs on an installed machine. Each has one before and one after it.
func knownStages() []string {
	return []string{
		"rootfs", initramfs, "fs", "boot", "network", "reconcile", "kairos-agent.bootstrap",
		"after-install", "after-install-chroot", "after-reset", "after-reset-chroot",
	}
}

// baseStage is the stage without its suffix.
func baseStage(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".before"), ".after")
}

// problems finds what does nothing, what replaces what Ingot sets, and what is secret.
func (d document) problems(distribution bootstrapv1.KairosDistribution) []string {
	var out []string
	for i, u := range d.Users {
		if u.Name == "" {
			out = append(out, fmt.Sprintf("users[%d] has no name", i))
		}
		if u.Passwd != "" {
			out = append(out, fmt.Sprintf("users[%d].passwd %s: use ssh_authorized_keys", i, readable))
		}
	}
	if len(d.SSHAuthorizedKeys) > 0 && len(d.Users) == 0 {
		out = append(out, "ssh_authorized_keys are for all users, and there are none: name them in users")
	}
	for i, f := range d.WriteFiles {
		if !regexp.MustCompile(`^([0-7]{3,4})?$`).MatchString(f.Permissions) {
			out = append(out, fmt.Sprintf("write_files[%d].permissions %q are not octal digits", i, f.Permissions))
		}
		out = append(out, pathProblem(distribution, fmt.Sprintf("write_files[%d].path", i), f.Path)...)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Stages)) {
		if !slices.Contains(knownStages(), baseStage(name)) {
			out = append(out, fmt.Sprintf("stages.%s never runs on such a machine: use %s, with .before or .after if need be",
				name, strings.Join(knownStages(), ", ")))
		}
		for i, s := range d.Stages[name] {
			out = append(out, s.problems(distribution, fmt.Sprintf("stages.%s[%d]", name, i))...)
		}
	}
	return out
}

func (s stage) problems(distribution bootstrapv1.KairosDistribution, at string) []string {
	var out []string
	if s.Hostname != "" {
		out = append(out, at+".hostname is the name of the Machine")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Users)) {
		if s.Users[name].Passwd != "" {
			out = append(out, fmt.Sprintf("%s.users.%s.passwd %s: use ssh_authorized_keys", at, name, readable))
		}
	}
	if s.Git != nil && s.Git.Auth != nil && (s.Git.Auth.Password != "" || s.Git.Auth.PrivateKey != "") {
		out = append(out, at+".git.auth "+readable)
	}
	for i, f := range s.Files {
		out = append(out, pathProblem(distribution, fmt.Sprintf("%s.files[%d].path", at, i), f.Path)...)
	}
	for i, d := range s.Downloads {
		out = append(out, pathProblem(distribution, fmt.Sprintf("%s.downloads[%d].path", at, i), d.Path)...)
	}
	if s.EnvironmentFile != "" && distribution == bootstrapv1.KairosDistributionKubeadm {
		out = append(out, pathProblem(distribution, at+".environment_file", s.EnvironmentFile)...)
	}
	if s.Systemctl != nil {
		for i, override := range s.Systemctl.Overrides {
			unit := strings.TrimSuffix(strings.TrimSuffix(override.Service, ".service"), ".timer") + ".service"
			out = append(out, pathProblem(distribution, fmt.Sprintf("%s.systemctl.overrides[%d].service", at, i), unitFolder+unit)...)
		}
	}
	return out
}

// pathProblem finds paths that Ingot writes to, and folders whose files Kairos takes for further configuration.
func pathProblem(distribution bootstrapv1.KairosDistribution, at, path string) []string {
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "/../") || strings.Contains(path, "//") || strings.Contains(path, "/./") {
		return []string{fmt.Sprintf("%s %q must be absolute and clean", at, path)}
	}
	for _, folder := range []string{"/oem/", "/system/oem/", "/usr/local/cloud-config/"} {
		if strings.HasPrefix(path, folder) {
			return []string{fmt.Sprintf("%s %q would be read as further cloud-config, which nobody checks: write it here", at, path)}
		}
	}
	for _, ours := range ownedPaths(distribution) {
		if strings.HasPrefix(path, ours) {
			return []string{fmt.Sprintf("%s %q is set by Ingot", at, path)}
		}
	}
	return nil
}

// ownedPaths are what paths begin with that belong to Ingot, or to what it starts.
func ownedPaths(distribution bootstrapv1.KairosDistribution) []string {
	common := []string{"/etc/hostname", unitFolder + "cos-setup-reconcile."}
	if distribution == bootstrapv1.KairosDistributionKubeadm {
		return append(common, "/etc/ingot/", "/etc/kubernetes/", "/var/lib/etcd/", "/var/lib/kubelet/", unitFolder+"ingot-", layoutFile)
	}
	return append(common, k3sJoinFile, k0sJoinFile,
		"/etc/rancher/k3s/k3s-agent.env", "/etc/sysconfig/k3s-agent", "/etc/sysconfig/k0sworker",
		unitFolder+"k3s-agent.service", unitFolder+"k0sworker.service")
}

// undone finds what turns a guard rail off: what changes the node in place, or takes its configuration from elsewhere.
func (d document) undone(text string) []string {
	var found []string
	if d.ConfigURL != "" {
		found = append(found, "config_url would be fetched at every boot, whatever is there by then")
	}
	for i, b := range d.Bundles {
		found = append(found, b.undone(fmt.Sprintf("bundles[%d]", i))...)
	}
	for i, u := range d.Users {
		found = append(found, remoteKeys(fmt.Sprintf("users[%d].ssh_authorized_keys", i), u.SSHAuthorizedKeys)...)
	}
	found = append(found, remoteKeys("ssh_authorized_keys", d.SSHAuthorizedKeys)...)
	for _, name := range slices.Sorted(maps.Keys(d.Stages)) {
		if baseStage(name) == "reconcile" {
			found = append(found, "stages."+name+" runs five minutes after boot and every hour, and changes a node that has joined")
		}
		for i, s := range d.Stages[name] {
			found = append(found, s.undone(fmt.Sprintf("stages.%s[%d].", name, i))...)
		}
	}
	words := strings.Join(strings.Fields(text), " ")
	for _, command := range []string{"kairos-agent upgrade", "kairos-agent reset", "NodeOpUpgrade", "run-stage reconcile", "config_url="} {
		if strings.Contains(words, command) {
			found = append(found, fmt.Sprintf("holds %q, which changes the node in place", command))
		}
	}
	for i := range found {
		found[i] += allow
	}
	return found
}

func (b bundle) undone(at string) []string {
	var found []string
	for i, target := range b.Targets {
		if !b.LocalFile && !isPinned(target) {
			found = append(found, fmt.Sprintf("%s.targets[%d] %q names no digest, so its content could change: write it as image@sha256:digest", at, i, target))
		}
	}
	return found
}

func (s stage) undone(at string) []string {
	var found []string
	if s.DataSource != nil {
		found = append(found, at+"datasource would take the configuration from elsewhere")
	}
	if s.Git != nil {
		found = append(found, at+"git would fetch whatever the branch holds by then")
	}
	if len(s.Downloads) > 0 {
		found = append(found, at+"downloads would fetch whatever the address holds by then, since they have no digest")
	}
	if s.Packages != nil {
		found = append(found, at+"packages would change the image in place")
	}
	for i, image := range s.UnpackImages {
		if !isPinned(image.Source) {
			found = append(found, fmt.Sprintf("%sunpack_images[%d].source %q names no digest, so its content could change: write it as image@sha256:digest", at, i, image.Source))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Users)) {
		found = append(found, remoteKeys(at+"users."+name+".ssh_authorized_keys", s.Users[name].SSHAuthorizedKeys)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.AuthorizedKeys)) {
		found = append(found, remoteKeys(at+"authorized_keys."+name, s.AuthorizedKeys[name])...)
	}
	return found
}

// isPinned is whether an image is named with its digest.
func isPinned(image string) bool {
	return regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(image)
}

// remoteKeys finds what yip fetches instead of a key.
func remoteKeys(at string, keys []string) []string {
	for _, key := range keys {
		key = strings.TrimSpace(key)
		for _, scheme := range []string{"github:", "gitlab:", "http://", "https://"} {
			if strings.HasPrefix(key, scheme) {
				return []string{at + " would be fetched from elsewhere: write the keys themselves"}
			}
		}
	}
	return nil
}
