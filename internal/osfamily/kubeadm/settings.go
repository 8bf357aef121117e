// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
)

const (
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
	out.Files = append(out.Files, slices.Concat(patch, registries, node.SystemFiles(in.Config))...)
	out.Units = append(out.Units, slices.Concat(runtimeUnits(in), settingsUnits(in.Config))...)
	return nil
}

// runtimeUnits are containerd and the kubelet where they read something at their start. containerd may run by then, the
// kubelet is started anew by kubeadm.
func runtimeUnits(in osfamily.Input) []Unit {
	dropin := node.ProxyEnvironment(in)
	if dropin == "" && in.Config.AdditionalTrustBundle == "" {
		return nil
	}
	containerd := Unit{Name: "containerd.service", Enabled: true}
	if dropin == "" {
		return []Unit{containerd}
	}
	containerd.Dropins = map[string]string{proxyDropin: dropin}
	return []Unit{containerd, {Name: "kubelet.service", Dropins: map[string]string{proxyDropin: dropin}}}
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
