// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
)

// Paths of settings. Files that are sorted win over those of the image.
const (
	trustPath     = "/etc/ssl/certs/ingot-additional-trust-bundle.pem"
	timesyncdPath = "/etc/systemd/timesyncd.conf.d/99-ingot.conf"
	chronyPath    = "/etc/chrony/sources.d/ingot.sources"
	sysctlPath    = "/etc/sysctl.d/99-z-ingot.conf"
	modulesPath   = "/etc/modules-load.d/99-ingot.conf"
	modprobePath  = "/etc/modprobe.d/99-ingot.conf"

	proxyDropin = "50-ingot-proxy.conf"
	systemctl   = "/usr/bin/systemctl"
)

// addSettings writes the portable settings as files and units that every systemd has. Without settings it adds nothing.
func addSettings(out *Node, in osfamily.Input) error {
	patch, err := kubeletPatchFiles(in.Config.Node.Kubelet)
	if err != nil {
		return err
	}
	registries, err := registryFiles(in)
	if err != nil {
		return err
	}
	out.Files = append(out.Files, slices.Concat(patch, registries, trustFiles(in.Config), timeFiles(in.Config.NTP), kernelFiles(in.Config))...)
	out.Units = append(out.Units, slices.Concat(runtimeUnits(in), settingsUnits(in.Config))...)
	return nil
}

// trustFiles put the bundle where programs written in Go look for authorities, beside those of the image: container
// runtime, kubelet, kubeadm, and the control plane's Pods, into which kubeadm mounts the folder.
func trustFiles(config bootstrapv1.IngotConfigSpec) []File {
	if config.AdditionalTrustBundle == "" {
		return nil
	}
	return []File{{Path: trustPath, Mode: 0o644, Data: []byte(ended(config.AdditionalTrustBundle))}}
}

// timeFiles speak to systemd-timesyncd, and to a chrony that reads sources.d. The first assignments empty the lists of the
// image.
func timeFiles(ntp bootstrapv1.NTPSettings) []File {
	if len(ntp.Servers) == 0 {
		return nil
	}
	var sources strings.Builder
	for _, server := range ntp.Servers {
		fmt.Fprintf(&sources, "server %s iburst\n", server)
	}
	return []File{
		{Path: timesyncdPath, Mode: 0o644, Data: []byte("[Time]\nNTP=\n" + "NTP=" + strings.Join(ntp.Servers, " ") + "\nFallbackNTP=\n")},
		{Path: chronyPath, Mode: 0o644, Data: []byte(sources.String())},
	}
}

func kernelFiles(config bootstrapv1.IngotConfigSpec) []File {
	var files []File
	add := func(path string, content *bytes.Buffer) {
		if content.Len() > 0 {
			files = append(files, File{Path: path, Mode: 0o644, Data: content.Bytes()})
		}
	}
	var sysctls, names, options bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(config.Sysctls)) {
		fmt.Fprintf(&sysctls, "%s = %s\n", name, config.Sysctls[name])
	}
	for _, module := range config.KernelModules {
		fmt.Fprintln(&names, module.Name)
		if len(module.Parameters) > 0 {
			fmt.Fprintf(&options, "options %s %s\n", module.Name, strings.Join(module.Parameters, " "))
		}
	}
	add(sysctlPath, &sysctls)
	add(modulesPath, &names)
	add(modprobePath, &options)
	return files
}

// runtimeUnits are containerd and the kubelet where they read something at their start. containerd may run by then, the
// kubelet is started anew by kubeadm.
func runtimeUnits(in osfamily.Input) []Unit {
	proxy := in.Config.Proxy
	hasProxy := proxy.HTTPProxy != "" || proxy.HTTPSProxy != ""
	if !hasProxy && in.Config.AdditionalTrustBundle == "" {
		return nil
	}
	containerd := Unit{Name: "containerd.service", Enabled: true}
	if !hasProxy {
		return []Unit{containerd}
	}
	dropin := proxyEnvironment(in)
	containerd.Dropins = map[string]string{proxyDropin: dropin}
	return []Unit{containerd, {Name: "kubelet.service", Dropins: map[string]string{proxyDropin: dropin}}}
}

// proxyEnvironment is a drop-in that leaves the cluster itself out of the proxy.
func proxyEnvironment(in osfamily.Input) string {
	var out strings.Builder
	out.WriteString("[Service]\n")
	for _, variable := range []struct{ name, value string }{
		{"HTTP_PROXY", in.Config.Proxy.HTTPProxy},
		{"HTTPS_PROXY", in.Config.Proxy.HTTPSProxy},
		{"NO_PROXY", strings.Join(node.Direct(in), ",")},
	} {
		if variable.value != "" {
			fmt.Fprintf(&out, "Environment=\"%s=%s\"\n", variable.name, variable.value)
		}
	}
	return out.String()
}

// settingsUnits have the kernel and the clock take over what was written, also where files are written after systemd has
// read its own. kubeadm does not run where a module or a kernel parameter was refused.
func settingsUnits(config bootstrapv1.IngotConfigSpec) []Unit {
	var commands []string
	if len(config.KernelModules) > 0 {
		commands = append(commands, systemctl+" restart systemd-modules-load.service")
	}
	if len(config.Sysctls) > 0 {
		commands = append(commands, systemctl+" restart systemd-sysctl.service")
	}
	if len(config.NTP.Servers) > 0 {
		for _, name := range []string{"systemd-timesyncd.service", "chrony.service", "chronyd.service"} {
			commands = append(commands, "-"+systemctl+" try-restart "+name)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return []Unit{{
		Name:    "ingot-settings.service",
		Enabled: true,
		Contents: fmt.Sprintf(`[Unit]
Description=Apply the settings of this machine
Before=containerd.service kubelet.service ingot-bootstrap.service

[Service]
Type=oneshot
RemainAfterExit=yes
StandardOutput=journal+console
StandardError=inherit
ExecStart=%s

[Install]
WantedBy=multi-user.target
RequiredBy=ingot-bootstrap.service
`, strings.Join(commands, "\nExecStart=")),
	}}
}

// ended ends a text with a line break.
func ended(text string) string { return strings.TrimRight(text, "\n") + "\n" }
