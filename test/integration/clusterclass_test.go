// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// TestClusterClass: a managed topology asks by server-side dry runs whether a template has to be rotated. Templates are
// immutable, and the policy that says so must answer these questions without refusing them. An immutable template that
// cannot be rotated would leave every cluster of the class on its first image for ever.
func TestClusterClass(t *testing.T) {
	const first, second = "class-1", "class-2"
	w := newWorld(t, "class", first, second)
	w.startManager()
	for _, image := range []string{first, second} {
		w.create(builder.IngotMachineTemplate(image, image, w.cluster, func(template *infrav1.IngotMachineTemplate) {
			template.Namespace = w.namespace
		}))
	}

	w.applyClass(first, first)
	w.eventually("the cluster is available", w.available)
	w.eventually("every machine is there once", func() string { return w.running(1, first) })

	w.applyClass(first, second)
	w.eventually("the worker is replaced", func() string { return w.running(1, second) })
	w.eventually("the cluster is as its class says", w.topologyReconciled)
	w.expectRest()

	w.expectImmutableTemplates()
	w.expectOrderlyEnd()
}

// applyClass applies the class and the Cluster, with machine templates for the control plane and the workers.
func (w *world) applyClass(controlPlane, workers string) {
	w.Helper()
	manifests, err := os.ReadFile(filepath.Join("testdata", "clusterclass.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	_, port := w.endpoint()
	values := map[string]string{
		"NAME": w.cluster, "PORT": strconv.Itoa(int(port)), "VERSION": builder.KubernetesVersion,
		"CONTROL_PLANE_TEMPLATE": controlPlane, "WORKER_TEMPLATE": workers,
	}
	objects, err := utilyaml.ToUnstructured([]byte(os.Expand(string(manifests), func(name string) string { return values[name] })))
	if err != nil {
		w.Fatal(err)
	}
	if err := apply(w.Context(), w.management, objects); err != nil {
		w.Fatal(err)
	}
}

func (w *world) topologyReconciled() string {
	cluster := &clusterv1.Cluster{}
	if err := w.management.Get(w.Context(), w.key(w.cluster), cluster); err != nil {
		return err.Error()
	}
	condition := conditions.Get(cluster, clusterv1.ClusterTopologyReconciledCondition)
	return unless(condition != nil && condition.Status == metav1.ConditionTrue, fmt.Sprintf("TopologyReconciled is %v", condition))
}

// expectImmutableTemplates checks that the policies that let the dry runs through refuse everybody else.
func (w *world) expectImmutableTemplates() {
	w.Helper()
	template := &infrav1.IngotMachineTemplate{}
	if err := w.management.Get(w.Context(), w.key("class-1"), template); err != nil {
		w.Fatal(err)
	}
	template.Spec.Template.Spec.Resources.CPUs++
	for _, options := range [][]client.UpdateOption{nil, {client.DryRunAll}} {
		if err := w.management.Update(w.Context(), template.DeepCopy(), options...); !apierrors.IsInvalid(err) {
			w.Errorf("changing a template: %v", err)
		}
	}
}
