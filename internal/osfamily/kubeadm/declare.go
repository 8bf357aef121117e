// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Names that kubeadm gives to objects of its cluster.
const (
	configMapName           = "kubeadm-config"
	clusterConfigurationKey = "ClusterConfiguration"
	proxyName               = "kube-proxy"
	// proxyPhase is the phase of kubeadm init that makes kube-proxy.
	proxyPhase = "addon/kube-proxy"
	// addonPhases is the phase that makes all addons.
	addonPhases = "addon"
)

// declaredFields are the fields of kubeadm's ClusterConfiguration that Ingot speaks of, by their paths. The others are
// decided once, when the cluster is made.
func declaredFields() [][]string {
	return [][]string{
		{"kubernetesVersion"},
		{"imageRepository"},
		{"encryptionAlgorithm"},
		{"apiServer", "certSANs"},
		{"apiServer", "extraArgs"},
		{"apiServer", "extraEnvs"},
		{"controllerManager", "extraArgs"},
		{"controllerManager", "extraEnvs"},
		{"scheduler", "extraArgs"},
		{"scheduler", "extraEnvs"},
		{"etcd", "local", "extraArgs"},
		{"etcd", "local", "extraEnvs"},
	}
}

// isKept is whether a field stays as it is where Ingot says nothing: kubeadm fills in its own.
func isKept(path []string) bool {
	return path[0] == "imageRepository" || path[0] == "encryptionAlgorithm"
}

// Declarations are what kubeadm join reads from its cluster: the static Pods of a control plane node follow from a
// ConfigMap that kubeadm init wrote. A node gets the kube-proxy of its own version: images may carry no other.
func Declarations(in osfamily.Input) []osfamily.Declaration {
	declarations := []osfamily.Declaration{{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Namespace:        metav1.NamespaceSystem,
		Name:             configMapName,
		Declare:          func(object map[string]any) error { return declareConfiguration(in, object) },
	}}
	if skipped := in.Config.ControlPlane.SkipPhases; !slices.Contains(skipped, proxyPhase) && !slices.Contains(skipped, addonPhases) {
		declarations = append(declarations, osfamily.Declaration{
			GroupVersionKind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"},
			Namespace:        metav1.NamespaceSystem,
			Name:             proxyName,
			Declare:          func(object map[string]any) error { return declareProxy(in, object) },
		})
	}
	return declarations
}

// declareConfiguration writes the text anew only where it says something else: kubeadm formats it in its own way.
func declareConfiguration(in osfamily.Input, object map[string]any) error {
	text, found, err := unstructured.NestedString(object, "data", clusterConfigurationKey)
	if err != nil || !found {
		return fmt.Errorf("it has no key %s, which kubeadm init writes: restore it from a backup of the cluster", clusterConfigurationKey)
	}
	var current map[string]any
	if err := yaml.Unmarshal([]byte(text), &current); err != nil {
		return fmt.Errorf("its key %s is no YAML: %w", clusterConfigurationKey, err)
	}
	if version := current["apiVersion"]; version != kubeadmv1.GroupVersion.String() {
		return fmt.Errorf("its key %s has apiVersion %v, and this version of Ingot knows %s", clusterConfigurationKey, version, kubeadmv1.GroupVersion)
	}
	wanted, err := asMap(clusterConfiguration(in))
	if err != nil {
		return err
	}
	changed := false
	for _, path := range declaredFields() {
		done, err := declareField(current, wanted, path)
		if err != nil {
			return fmt.Errorf("field %s of its key %s: %w", strings.Join(path, "."), clusterConfigurationKey, err)
		}
		changed = changed || done
	}
	if !changed {
		return nil
	}
	out, err := yaml.Marshal(current)
	if err != nil {
		return err
	}
	return unstructured.SetNestedField(object, string(out), "data", clusterConfigurationKey)
}

// declareField brings one field from wanted to current, and says whether it was another.
func declareField(current, wanted map[string]any, path []string) (bool, error) {
	want, ok, err := unstructured.NestedFieldNoCopy(wanted, path...)
	if err != nil {
		return false, err
	}
	is, found, err := unstructured.NestedFieldNoCopy(current, path...)
	switch {
	case err != nil:
		return false, err
	case !ok && (!found || isKept(path)):
		return false, nil
	case !ok:
		unstructured.RemoveNestedField(current, path...)
		return true, nil
	case found && reflect.DeepEqual(is, want):
		return false, nil
	}
	return true, unstructured.SetNestedField(current, want, path...)
}

// declareProxy names the image of the version, and has nodes that run another keep it until they are replaced.
func declareProxy(in osfamily.Input, object map[string]any) error {
	containers, found, err := unstructured.NestedSlice(object, "spec", "template", "spec", "containers")
	if err != nil || !found {
		return errors.New("it has no containers")
	}
	changed := false
	for _, entry := range containers {
		container, ok := entry.(map[string]any)
		if !ok || container["name"] != proxyName {
			continue
		}
		image, _ := container["image"].(string)
		if want := proxyImage(in, image); image != want {
			container["image"], changed = want, true
		}
	}
	if !changed {
		return nil
	}
	if err := unstructured.SetNestedSlice(object, containers, "spec", "template", "spec", "containers"); err != nil {
		return err
	}
	return unstructured.SetNestedField(object, map[string]any{"type": "OnDelete"}, "spec", "updateStrategy")
}

// proxyImage is the image that kubeadm of the version would run, from where the current one is.
func proxyImage(in osfamily.Input, current string) string {
	repository := in.Config.ControlPlane.ImageRepository
	if repository == "" {
		repository = strings.TrimSuffix(current[:strings.LastIndex(current, "/")+1], "/")
	}
	return strings.TrimPrefix(repository+"/"+proxyName+":"+in.Cluster.KubernetesVersion, "/")
}

// asMap is what the object looks like to somebody who reads its JSON.
func asMap(object any) (map[string]any, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(data, &out)
}
