// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"maps"
	"slices"

	"github.com/siderolabs/talos/pkg/machinery/config/config"
	"github.com/siderolabs/talos/pkg/machinery/config/types/k8s"
	"github.com/siderolabs/talos/pkg/machinery/config/types/meta"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
)

// documents are a machine configuration that is being written. Up to 1.13 what Kubernetes is made of stands in the one large
// document, from 1.14 on in documents of its own.
type documents struct {
	release release
	legacy  *v1alpha1.Config
	others  []config.Document

	// These are nil up to 1.13, and those of the control plane on workers.
	kubelet           *k8s.KubeletConfigV1Alpha1
	nodeConfig        *k8s.KubeNodeConfigV1Alpha1
	apiServer         *k8s.KubeAPIServerConfigV1Alpha1
	controllerManager *k8s.KubeControllerManagerConfigV1Alpha1
	scheduler         *k8s.KubeSchedulerConfigV1Alpha1
}

func newDocuments(all []config.Document, r release) (*documents, error) {
	d := &documents{release: r}
	for _, document := range all {
		switch document := document.(type) {
		case *v1alpha1.Config:
			d.legacy = document
			continue
		case *k8s.KubeletConfigV1Alpha1:
			d.kubelet = document
		case *k8s.KubeNodeConfigV1Alpha1:
			d.nodeConfig = document
		case *k8s.KubeAPIServerConfigV1Alpha1:
			d.apiServer = document
		case *k8s.KubeControllerManagerConfigV1Alpha1:
			d.controllerManager = document
		case *k8s.KubeSchedulerConfigV1Alpha1:
			d.scheduler = document
		}
		d.others = append(d.others, document)
	}
	switch {
	case d.legacy == nil || d.legacy.MachineConfig == nil || d.legacy.ClusterConfig == nil:
		return nil, errNoDocument("v1alpha1 document")
	case r.contract.MultidocKubernetesConfigSupported() && (d.kubelet == nil || d.nodeConfig == nil):
		return nil, errNoDocument(k8s.KubeletConfig)
	case !r.contract.MultidocKubernetesConfigSupported() && d.legacy.MachineConfig.MachineKubelet == nil:
		return nil, errNoDocument("machine.kubelet")
	}
	// An image that is on the disk installs nothing.
	d.legacy.MachineConfig.MachineInstall = nil
	return d, nil
}

// all are the documents in a fixed order: those of the machinery, and then what was added, each kind by its names.
func (d *documents) all() []config.Document {
	return append([]config.Document{d.legacy}, d.others...)
}

// replace adds a document, or puts it in the place of the one that is there.
func (d *documents) replace(document config.Document) {
	same := func(other config.Document) bool { return identity(other) == identity(document) }
	if i := slices.IndexFunc(d.others, same); i >= 0 {
		d.others[i] = document
		return
	}
	d.others = append(d.others, document)
}

// identity is what tells documents of one configuration apart.
func identity(document config.Document) string {
	if named, ok := document.(config.NamedDocument); ok {
		return document.Kind() + "/" + named.Name()
	}
	return document.Kind()
}

func (d *documents) addLabels(labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	target := &d.legacy.MachineConfig.MachineNodeLabels
	if d.nodeConfig != nil {
		target = &d.nodeConfig.LabelsConfig
	}
	if *target == nil {
		*target = map[string]string{}
	}
	maps.Copy(*target, labels)
}

func (d *documents) addKubeletArg(name, value string) {
	var target *meta.Args
	if d.kubelet != nil {
		target = &d.kubelet.KubeletArgs
	} else {
		target = &d.legacy.MachineConfig.MachineKubelet.KubeletExtraArgs
	}
	if *target == nil {
		*target = meta.Args{}
	}
	(*target)[name] = meta.NewArgValue(value, nil)
}

// setKubelet sets a field of the kubelet's own configuration.
func (d *documents) setKubelet(field string, value any) {
	var target *meta.Unstructured
	if d.kubelet != nil {
		target = &d.kubelet.KubeletConfig
	} else {
		target = &d.legacy.MachineConfig.MachineKubelet.KubeletExtraConfig
	}
	if target.Object == nil {
		target.Object = map[string]any{}
	}
	target.Object[field] = value
}

func (d *documents) setAPIServer(p podSettings) {
	if d.apiServer != nil {
		d.apiServer.PodArgs, d.apiServer.PodEnv = p.args, p.env
		d.apiServer.PodResources.Requests.Object = p.requests
		return
	}
	if target := d.legacy.ClusterConfig.APIServerConfig; target != nil {
		target.ExtraArgsConfig, target.EnvConfig, target.ResourcesConfig = p.args, p.env, legacyResources(p)
	}
}

func (d *documents) setControllerManager(p podSettings) {
	if d.controllerManager != nil {
		d.controllerManager.PodArgs, d.controllerManager.PodEnv = p.args, p.env
		d.controllerManager.PodResources.Requests.Object = p.requests
		return
	}
	if target := d.legacy.ClusterConfig.ControllerManagerConfig; target != nil {
		target.ExtraArgsConfig, target.EnvConfig, target.ResourcesConfig = p.args, p.env, legacyResources(p)
	}
}

func (d *documents) setScheduler(p podSettings) {
	if d.scheduler != nil {
		d.scheduler.PodArgs, d.scheduler.PodEnv = p.args, p.env
		d.scheduler.PodResources.Requests.Object = p.requests
		return
	}
	if target := d.legacy.ClusterConfig.SchedulerConfig; target != nil {
		target.ExtraArgsConfig, target.EnvConfig, target.ResourcesConfig = p.args, p.env, legacyResources(p)
	}
}

func legacyResources(p podSettings) *v1alpha1.ResourcesConfig {
	if p.requests == nil {
		return nil
	}
	return &v1alpha1.ResourcesConfig{Requests: meta.Unstructured{Object: p.requests}}
}
