// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

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

// kubeletPatch is the part of the kubelet's configuration that a config may set. kubeadm merges it into what the cluster has
// for all nodes, on this node only.
type kubeletPatch struct {
	MaxPods                         *int32            `json:"maxPods,omitempty"`
	PodPidsLimit                    *int64            `json:"podPidsLimit,omitempty"`
	SystemReserved                  map[string]string `json:"systemReserved,omitempty"`
	KubeReserved                    map[string]string `json:"kubeReserved,omitempty"`
	EvictionHard                    map[string]string `json:"evictionHard,omitempty"`
	ShutdownGracePeriod             *metav1.Duration  `json:"shutdownGracePeriod,omitempty"`
	ShutdownGracePeriodCriticalPods *metav1.Duration  `json:"shutdownGracePeriodCriticalPods,omitempty"`
}

// kubeletPatchFiles is the patch of the kubelet's configuration, where there is anything to patch.
func kubeletPatchFiles(kubelet bootstrapv1.KubeletSettings) ([]File, error) {
	if !setsKubelet(kubelet) {
		return nil, nil
	}
	data, err := yaml.Marshal(kubeletPatch{
		MaxPods:                         kubelet.MaxPods,
		PodPidsLimit:                    kubelet.PodPidsLimit,
		SystemReserved:                  kubelet.SystemReserved,
		KubeReserved:                    kubelet.KubeReserved,
		EvictionHard:                    kubelet.EvictionHard,
		ShutdownGracePeriod:             duration(kubelet.ShutdownGracePeriodSeconds),
		ShutdownGracePeriodCriticalPods: duration(kubelet.ShutdownGracePeriodCriticalPodsSeconds),
	})
	return []File{{Path: patchesPath + "/kubeletconfiguration0+strategic.yaml", Mode: 0o644, Data: data}}, err
}

func setsKubelet(kubelet bootstrapv1.KubeletSettings) bool {
	return kubelet.MaxPods != nil || kubelet.PodPidsLimit != nil || len(kubelet.SystemReserved) > 0 || len(kubelet.KubeReserved) > 0 ||
		len(kubelet.EvictionHard) > 0 || kubelet.ShutdownGracePeriodSeconds != nil || kubelet.ShutdownGracePeriodCriticalPodsSeconds != nil
}

func duration(seconds *int32) *metav1.Duration {
	if seconds == nil {
		return nil
	}
	return &metav1.Duration{Duration: time.Duration(*seconds) * time.Second}
}
