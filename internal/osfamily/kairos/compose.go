// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	// initramfs is the stage that runs before the system starts, and again at every boot.
	initramfs = "initramfs"
	// The folders of both files outlive a boot.
	k3sJoinFile = "/etc/rancher/k3s/ingot-token"
	k0sJoinFile = "/etc/k0s/ingot-token"
	// user is who the images know. Kairos takes no configuration without a user.
	user = "kairos"
	// reconcileDropin is a condition that is never met.
	reconcileDropin = "[Unit]\nConditionPathExists=!/\n"
)

// compose adds what Ingot sets to make a worker of k3s or k0s. The user's part holds none of it, and what both have a list of begins with Ingot's.
func compose(config *document, in osfamily.Input) error {
	config.Hostname = in.Machine.Name
	if len(config.Users) == 0 {
		config.Users = []account{{Name: user, LockPasswd: true}}
	}
	join, path := k3sToken(in.Join), k3sJoinFile
	if isK3s(in) {
		config.K3sAgent = &agent{Enabled: true, Args: k3sArgs(in)}
	} else {
		var err error
		if join, err = k0sToken(in); err != nil {
			return err
		}
		path = k0sJoinFile
		config.K0sWorker = &agent{Enabled: true, Args: k0sArgs(in)}
	}
	ours := []stage{
		{Name: "Ingot: what was delivered is for root", Commands: []string{hideUserdata}},
		{Name: "Ingot: what the node joins with", Files: []file{{Path: path, Permissions: 0o600, Content: join + "\n"}}},
	}
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		ours = append(ours, guardRail())
	}
	settings, err := settingStages(in)
	if err != nil {
		return err
	}
	ours = append(ours, settings...)
	stages := map[string][]stage{initramfs: ours}
	for name, list := range config.Stages {
		stages[name] = append(stages[name], list...)
	}
	config.Stages = stages
	return nil
}

// guardRail keeps the stage reconcile from running, which Kairos does five minutes after boot and every hour, whoever
// wrote one. The units are written anew at every boot, so they are neither masked nor removed: they get a condition that
// is never met.
func guardRail() stage {
	s := stage{Name: "Ingot: nothing reconciles the node in place", OnlyServiceManager: "systemd"}
	for _, unit := range reconcileUnits() {
		s.Files = append(s.Files, file{Path: unitFolder + unit + ".d/ingot.conf", Permissions: 0o644, Content: reconcileDropin})
	}
	return s
}

// reconcileUnits run the stage reconcile.
func reconcileUnits() []string {
	return []string{"cos-setup-reconcile.service", "cos-setup-reconcile.timer"}
}

// k3sArgs are the flags of k3s agent.
func k3sArgs(in osfamily.Input) []string {
	args := []string{
		"--server=https://" + in.Cluster.Endpoint(),
		"--token-file=" + k3sJoinFile,
		"--node-name=" + in.Machine.Name,
	}
	for _, label := range labels(in.Config.Node.Labels) {
		args = append(args, "--node-label="+label)
	}
	for _, taint := range taints(in.Config.Node.Taints) {
		args = append(args, "--node-taint="+taint)
	}
	for _, arg := range kubeletArgs(in) {
		args = append(args, "--kubelet-arg="+arg)
	}
	return args
}

// k0sArgs are the flags of k0s worker, which takes the kubelet's as one. Kairos writes them into a unit of systemd, where
// quotes make one word of several.
func k0sArgs(in osfamily.Input) []string {
	args := []string{"--token-file=" + k0sJoinFile}
	if labels := labels(in.Config.Node.Labels); len(labels) > 0 {
		args = append(args, "--labels="+strings.Join(labels, ","))
	}
	if taints := taints(in.Config.Node.Taints); len(taints) > 0 {
		args = append(args, "--taints="+strings.Join(taints, ","))
	}
	var kubelet []string
	for _, arg := range kubeletArgs(in) {
		kubelet = append(kubelet, "--"+arg)
	}
	switch len(kubelet) {
	case 0:
	case 1:
		args = append(args, "--kubelet-extra-args="+kubelet[0])
	default:
		args = append(args, `"--kubelet-extra-args=`+strings.Join(kubelet, " ")+`"`)
	}
	return args
}

// kubeletArgs are flags of the kubelet, without dashes.
func kubeletArgs(in osfamily.Input) []string {
	var args []string
	if in.Machine.ProviderID != "" {
		args = append(args, "provider-id="+in.Machine.ProviderID)
	}
	for _, arg := range in.Config.Node.KubeletExtraArgs {
		args = append(args, arg.Name+"="+arg.Value)
	}
	return append(args, kubeletSettings(in.Config.Node.Kubelet)...)
}

func labels(in map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(in)) {
		out = append(out, key+"="+in[key])
	}
	return out
}

func taints(in *[]corev1.Taint) []string {
	if in == nil {
		return nil
	}
	var out []string
	for _, taint := range *in {
		out = append(out, taint.ToString())
	}
	return out
}
