// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Paths of settings. Files that are sorted win over those of the image.
const (
	trustPath     = "/etc/ssl/certs/ingot-additional-trust-bundle.pem"
	timesyncdPath = "/etc/systemd/timesyncd.conf.d/99-ingot.conf"
	chronyPath    = "/etc/chrony/sources.d/ingot.sources"
	sysctlPath    = "/etc/sysctl.d/99-z-ingot.conf"
	modulesPath   = "/etc/modules-load.d/99-ingot.conf"
	modprobePath  = "/etc/modprobe.d/99-ingot.conf"
)

// File is a file. It belongs to root.
type File struct {
	// Path is absolute. Missing parent directories get mode 0755.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
	// Data is the content.
	Data []byte
	// Append adds Data to what the image has at the path instead of replacing it.
	Append bool
}

// SystemFiles are the portable settings that a Linux with systemd reads in the same places, whatever makes the node: the trust
// bundle, time servers, kernel modules and parameters.
func SystemFiles(config bootstrapv1.IngotConfigSpec) []File {
	return slices.Concat(trustFiles(config), timeFiles(config.NTP), kernelFiles(config))
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

// ProxyEnvironment is a drop-in of systemd that leaves the cluster itself out of the proxy; empty where there is none.
func ProxyEnvironment(in osfamily.Input) string {
	if in.Config.Proxy.HTTPProxy == "" && in.Config.Proxy.HTTPSProxy == "" {
		return ""
	}
	var out strings.Builder
	out.WriteString("[Service]\n")
	for _, variable := range []struct{ name, value string }{
		{"HTTP_PROXY", in.Config.Proxy.HTTPProxy},
		{"HTTPS_PROXY", in.Config.Proxy.HTTPSProxy},
		{"NO_PROXY", strings.Join(Direct(in), ",")},
	} {
		if variable.value != "" {
			fmt.Fprintf(&out, "Environment=\"%s=%s\"\n", variable.name, variable.value)
		}
	}
	return out.String()
}

// ended ends a text with a line break.
func ended(text string) string { return strings.TrimRight(text, "\n") + "\n" }
