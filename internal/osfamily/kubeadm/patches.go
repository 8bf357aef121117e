// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// staticPod is a static Pod of a control plane node, with the field of the user's document that describes it.
type staticPod struct {
	name     string
	path     string
	settings bootstrapv1.ComponentSettings
}

// staticPods lists the static Pods in the order in which the API documents them.
func staticPods(settings bootstrapv1.ControlPlaneSettings) []staticPod {
	return []staticPod{
		{name: "kube-apiserver", path: "spec.controlPlane.apiServer", settings: settings.APIServer},
		{name: "kube-controller-manager", path: "spec.controlPlane.controllerManager", settings: settings.ControllerManager},
		{name: "kube-scheduler", path: "spec.controlPlane.scheduler", settings: settings.Scheduler},
		{name: "etcd", path: "spec.controlPlane.etcd", settings: settings.Etcd},
	}
}

// patchFiles are kubeadm's patches of the static Pods. kubeadm reads target and kind from the name of the file.
func patchFiles(settings bootstrapv1.ControlPlaneSettings) []File {
	var files []File
	for _, pod := range staticPods(settings) {
		if pod.settings.CPURequest == "" {
			continue
		}
		files = append(files, File{
			Path: fmt.Sprintf("%s/%s0+strategic.yaml", patchesPath, pod.name),
			Mode: 0o644,
			Data: fmt.Appendf(nil, `spec:
  containers:
  - name: %s
    resources:
      requests:
        cpu: %s
`, pod.name, pod.settings.CPURequest),
		})
	}
	return files
}
