// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// TestCluster is the life of one cluster from the template that users get, chapter by chapter. Each chapter begins where
// the one before it ended.
func TestCluster(t *testing.T) {
	const first, second = "life-1", reportingImage
	w := newWorld(t, "life", first, second)
	for _, chapter := range []struct {
		why  string
		tell func(*world)
	}{
		{"what users apply becomes a cluster that Cluster API calls available", func(w *world) {
			w.startManager()
			w.applyTemplate(first, 1, first)
			w.eventually("the cluster is available", w.available)
			w.eventually("every machine is there once", func() string { return w.running(1, first) })
		}},
		{"a stable cluster costs no writes and no platform calls", (*world).expectRest},
		{"what follows from a change is told before it is made", func(w *world) { w.expectPlan(second) }},
		{"what the manager did is told to Prometheus", (*world).expectMetrics},
		{"a node that is changed in place is found within a minute, and replaced where a health check says so", func(w *world) {
			w.expectChangeFound(first)
			w.eventually("the worker is replaced", func() string { return w.running(1, first) })
		}},
		{"a worker moves to another image by being replaced, and leaves only when the new one is ready", func(w *world) {
			w.expectReplacementFirst(second)
			w.applyTemplate(first, 1, second)
			w.eventually("the worker is replaced", func() string { return w.running(1, second) })
			w.beforeRelease(func(string) {})
		}},
		{"what a machine itself reports is seen without a look at anything else", (*world).expectReportSeen},
		{"a manager that stops in the middle of making a machine makes no second one", func(w *world) {
			w.guests.hold(true)
			w.applyTemplate(first, 2, second)
			w.eventually("the instance is made", func() string { return w.countInstances(3) })
			w.eventually("its age is told", w.ageTold)
			w.haltManager()
			w.guests.hold(false)
			w.startManager()
			w.eventually("the machine is there once", func() string { return w.running(2, second) })
		}},
		{"a manager that stops in the middle of removing a machine forgets nothing", func(w *world) {
			w.platform.SetReachable(false)
			w.applyTemplate(first, 1, second)
			w.eventually("a machine is deleted", func() string {
				_, workers := w.machines()
				return unless(slices.ContainsFunc(workers, func(m infrav1.IngotMachine) bool { return !m.DeletionTimestamp.IsZero() }), "none is")
			})
			w.haltManager()
			w.platform.SetReachable(true)
			w.startManager()
			w.eventually("the machine is gone", func() string { return w.running(1, second) })
			w.eventually("the cluster is available", w.available)
		}},
		{"a deleted cluster goes from its edge, and leaves nothing behind", (*world).expectOrderlyEnd},
	} {
		w.Log(chapter.why)
		chapter.tell(w)
		if w.Failed() {
			w.FailNow() // the next chapter has nothing to begin with
		}
	}
}

// applyTemplate generates the cluster from the template as clusterctl does, and applies it.
func (w *world) applyTemplate(controlPlaneImage string, workers int64, workerImage string) {
	w.Helper()
	if err := apply(w.Context(), w.management, w.generate(controlPlaneImage, workers, workerImage)); err != nil {
		w.Fatal(err)
	}
}

// manifests are the cluster from the template in a file, as users keep it.
func (w *world) manifests(controlPlaneImage string, workers int64, workerImage string) []byte {
	w.Helper()
	content, err := utilyaml.FromUnstructured(w.generate(controlPlaneImage, workers, workerImage))
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// generate makes a cluster of the template.
func (w *world) generate(controlPlaneImage string, workers int64, workerImage string) []unstructured.Unstructured {
	w.Helper()
	return w.generateFlavor("", controlPlaneImage, workers, workerImage, nil)
}

// generateFlavor makes a cluster of a flavour of the template, with further variables.
func (w *world) generateFlavor(flavor, controlPlaneImage string, workers int64, workerImage string, further map[string]string) []unstructured.Unstructured {
	w.Helper()
	variables := map[string]string{
		"CONTROL_PLANE_ENDPOINT_HOST": "127.0.0.1",
		"INGOT_ENDPOINT":              w.cluster,
		"INGOT_IMAGE":                 controlPlaneImage,
		"INGOT_WORKER_IMAGE":          workerImage,
	}
	maps.Copy(variables, further)
	manifests, err := repository.Generate(w.Context(), shared.clusterctl, repository.Cluster{
		Name:              w.cluster,
		Namespace:         w.namespace,
		KubernetesVersion: builder.KubernetesVersion,
		ControlPlanes:     1,
		Workers:           workers,
		Flavor:            flavor,
		Variables:         variables,
	})
	if err != nil {
		w.Fatal(err)
	}
	objects, err := utilyaml.ToUnstructured(manifests)
	if err != nil {
		w.Fatal(err)
	}
	_, port := w.endpoint()
	for _, object := range objects {
		if object.GetKind() != "IngotCluster" {
			continue
		}
		// The template takes the port for granted, and the API server that plays the cluster has another.
		if err := unstructured.SetNestedField(object.Object, int64(port), "spec", "controlPlaneEndpoint", "port"); err != nil {
			w.Fatal(err)
		}
	}
	return objects
}

// endpoint is where the API server of the workload cluster is.
func (w *world) endpoint() (host string, port int32) {
	w.Helper()
	address, err := url.Parse(shared.workload.Config.Host)
	if err != nil {
		w.Fatal(err)
	}
	number, err := strconv.ParseInt(address.Port(), 10, 32)
	if err != nil {
		w.Fatal(err)
	}
	return address.Hostname(), int32(number)
}

// expectRest waits until nothing changes any more, and then watches for a while.
func (w *world) expectRest() {
	w.Helper()
	const rest = 20 * time.Second
	last, since := "", time.Now()
	w.eventually("nothing has changed for "+rest.String(), func() string {
		if now := w.versions(); now != last {
			last, since = now, time.Now()
			w.platform.ForgetCalls()
		}
		return unless(time.Since(since) >= rest, "objects still change")
	})
	if calls := w.platform.Calls(); len(calls) > 0 {
		w.Errorf("nothing changed, and the platform was asked %v", calls)
	}
}

// versions changes when any object of ours changes.
func (w *world) versions() string {
	w.Helper()
	var versions []string
	for _, list := range []client.ObjectList{
		&infrav1.IngotClusterList{}, &infrav1.IngotMachineList{}, &infrav1.IngotMachineTemplateList{},
		&bootstrapv1.IngotConfigList{}, &bootstrapv1.IngotConfigTemplateList{}, &controlplanev1.IngotControlPlaneList{},
		&ingotv1.NodeImageList{}, &ingotv1.ImageReplicaList{}, &ingotv1.PlatformEndpointList{},
		&clusterv1.ClusterList{}, &clusterv1.MachineList{},
	} {
		w.list(list, func(object client.Object) {
			versions = append(versions, fmt.Sprintf("%T/%s@%s", object, object.GetName(), object.GetResourceVersion()))
		})
	}
	slices.Sort(versions)
	return strings.Join(versions, " ")
}

// expectReplacementFirst checks that no worker is released before a worker from the image is ready.
func (w *world) expectReplacementFirst(image string) {
	w.beforeRelease(func(uuid string) {
		nodes := &corev1.NodeList{}
		if err := w.workload.List(w.Context(), nodes); err != nil {
			w.Error(err)
		}
		if !slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool {
			return n.Status.NodeInfo.OSImage == w.guests.osImages[builder.Digest(image)] && n.Status.NodeInfo.SystemUUID != uuid
		}) {
			w.Errorf("instance %s is released, and no node from %s is there yet", uuid, image)
		}
	})
}

func (w *world) countInstances(want int) string {
	all := w.platform.Instances()
	return unless(len(all) == want, fmt.Sprintf("there are %d", len(all)))
}

// expectOrderlyEnd deletes the Cluster and waits until everything is gone.
func (w *world) expectOrderlyEnd() {
	w.Helper()
	controlPlane, _ := w.machines()
	last := strings.TrimPrefix(controlPlane[0].Spec.ProviderID, "ingot://")
	w.beforeRelease(func(uuid string) {
		if left := w.platform.Instances(); uuid == last && len(left) > 1 {
			w.Errorf("the control plane is released while workers are there: %v", left)
		}
	})
	w.deleteCluster()
	if left := w.platform.Instances(); len(left) > 0 {
		w.Errorf("instances are left: %v", left)
	}
	if id := w.platform.Images(); len(id) == 0 {
		w.Error("the images went with the cluster; they are the endpoint's, for the next one")
	}
	w.eventually("nothing of the cluster is left", func() string {
		var left []string
		for _, list := range []client.ObjectList{
			&infrav1.IngotClusterList{}, &infrav1.IngotMachineList{}, &bootstrapv1.IngotConfigList{},
			&controlplanev1.IngotControlPlaneList{}, &clusterv1.MachineList{}, &corev1.SecretList{},
		} {
			w.list(list, func(object client.Object) {
				// The user's own authority is not ours to delete.
				if _, secret := object.(*corev1.Secret); !secret || object.GetName() != w.authority().Name {
					left = append(left, fmt.Sprintf("%T %s", object, object.GetName()))
				}
			})
		}
		return strings.Join(left, ", ")
	})
}

// deleteCluster leaves nothing of the cluster for the next test.
func (w *world) deleteCluster() {
	w.Helper()
	cluster := &clusterv1.Cluster{}
	cluster.Namespace, cluster.Name = w.namespace, w.cluster
	if err := w.management.Delete(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
	w.eventually("the Cluster is gone", func() string {
		err := w.management.Get(w.Context(), client.ObjectKeyFromObject(cluster), cluster)
		return unless(apierrors.IsNotFound(err), fmt.Sprintf("it is there (%v)", err))
	})
}

// list calls visit for each object of a list in the world's namespace.
func (w *world) list(list client.ObjectList, visit func(client.Object)) {
	w.Helper()
	if err := w.management.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", item)
		}
		visit(object)
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// unless returns what is wrong unless it is right.
func unless(right bool, wrong string) string {
	if right {
		return ""
	}
	return wrong
}
