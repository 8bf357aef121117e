// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/kubeconfig"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
)

// fieldOwner marks what the quickstart applied.
const fieldOwner = client.FieldOwner("ingot-quickstart")

// How long the parts of the story may take. Emulated CPUs need most of it.
const (
	createLimit  = 40 * time.Minute
	upgradeLimit = 20 * time.Minute
)

// createCluster applies the inventory and the cluster from image version 1, and waits until every node is ready. A run
// that finds the replacement begun already leaves the cluster as it is.
func (q *quickstart) createCluster(ctx context.Context) error {
	if err := q.applyInventory(ctx, q.FromImage); err != nil {
		return err
	}
	begun, err := q.upgradeBegun(ctx)
	if err != nil || begun {
		return err
	}
	for _, workers := range q.turns() {
		if err := q.replace(ctx, q.FromImage, workers, createLimit); err != nil {
			return err
		}
	}
	nodes, err := q.nodes(ctx)
	if err != nil {
		return err
	}
	return q.rememberBefore(nodes)
}

// upgrade replaces the workers by machines from image version 2: the same road as the creation, with another image.
func (q *quickstart) upgrade(ctx context.Context) error {
	if err := q.applyInventory(ctx, q.ToImage); err != nil {
		return err
	}
	return q.replace(ctx, q.ToImage, q.Workers, upgradeLimit)
}

// turns are the numbers of workers that the cluster is created with, one after the other. Where processors are emulated,
// a worker that joins takes from control planes that join at the same time what etcd needs to answer them.
func (q *quickstart) turns() []int {
	if q.acceleration == hypervisor.Emulated && q.ControlPlanes > 1 && q.Workers > 0 {
		return []int{0, q.Workers}
	}
	return []int{q.Workers}
}

// replace declares the image and the number of the workers, and waits until every node is ready.
func (q *quickstart) replace(ctx context.Context, workerImage string, workers int, limit time.Duration) error {
	if err := q.applyCluster(ctx, workerImage, workers); err != nil {
		return err
	}
	return q.follow(ctx, limit, func(ctx context.Context) (bool, error) { return q.ready(ctx, workerImage, workers) })
}

// applyInventory applies the PlatformEndpoint and the NodeImage of a version: what platform engineers keep beside their
// clusters.
func (q *quickstart) applyInventory(ctx context.Context, version string) error {
	manifest, err := os.ReadFile(q.manifestPath(version))
	if err != nil {
		return fmt.Errorf("manifest of the node image: %w", err)
	}
	endpoint, err := yaml.Marshal(map[string]any{
		"apiVersion": "ingot.dev/v1alpha1",
		"kind":       "PlatformEndpoint",
		"metadata":   map[string]any{"name": endpointName},
		"spec":       map[string]any{"libvirt": map[string]any{"uri": q.host.URI, "acceleration": q.accelerationName()}},
	})
	if err != nil {
		return err
	}
	if err := q.apply(ctx, endpoint); err != nil {
		return err
	}
	err = q.apply(ctx, manifest)
	if apierrors.IsInvalid(err) {
		return fmt.Errorf("node image %s was built from other sources when this quickstart began, and NodeImages are immutable: "+
			"run make quickstart-down, and the quickstart again (%w)", version, err)
	}
	return err
}

// applyCluster generates the cluster with clusterctl and applies it. Workers run the given version of the image, the
// control plane runs the first.
func (q *quickstart) applyCluster(ctx context.Context, workerImage string, workers int) error {
	flavor := ""
	if q.acceleration == hypervisor.Emulated {
		flavor = "emulated"
	}
	manifests, err := repository.Generate(ctx, q.clusterctl, repository.Cluster{
		Name:              clusterName,
		Namespace:         namespace,
		KubernetesVersion: q.KubernetesVersion,
		ControlPlanes:     int64(q.ControlPlanes),
		Workers:           int64(workers),
		Flavor:            flavor,
		Variables: map[string]string{
			"CONTROL_PLANE_ENDPOINT_HOST": q.host.VIP.String(),
			"INGOT_ENDPOINT":              endpointName,
			"INGOT_NETWORK":               q.host.Network,
			"INGOT_STORAGE_POOL":          q.host.Pool,
			"INGOT_IMAGE":                 imageName(q.FromImage),
			"INGOT_WORKER_IMAGE":          imageName(workerImage),
		},
	})
	if err != nil {
		return err
	}
	return q.apply(ctx, manifests)
}

// apply applies YAML documents by server-side apply.
func (q *quickstart) apply(ctx context.Context, manifests []byte) error {
	objects, err := utilyaml.ToUnstructured(manifests)
	if err != nil {
		return fmt.Errorf("reading manifests: %w", err)
	}
	for i := range objects {
		object := &objects[i]
		if err := q.management.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// upgradeBegun is whether the workers were already declared to run image version 2.
func (q *quickstart) upgradeBegun(ctx context.Context) (bool, error) {
	deployments := &clusterv1.MachineDeploymentList{}
	if err := q.management.List(ctx, deployments, client.InNamespace(namespace)); err != nil {
		return false, fmt.Errorf("reading MachineDeployments: %w", err)
	}
	return slices.ContainsFunc(deployments.Items, func(d clusterv1.MachineDeployment) bool {
		return strings.HasSuffix(d.Spec.Template.Spec.InfrastructureRef.Name, imageName(q.ToImage))
	}), nil
}

// ready is whether all control planes and exactly the wanted workers are ready, and the workers run the given image.
func (q *quickstart) ready(ctx context.Context, workerImage string, workers int) (bool, error) {
	machines := &clusterv1.MachineList{}
	if err := q.management.List(ctx, machines, client.InNamespace(namespace)); err != nil {
		return false, err
	}
	if len(machines.Items) != workers+q.ControlPlanes {
		return false, nil
	}
	for i := range machines.Items {
		machine := &machines.Items[i]
		_, controlPlane := machine.Labels[clusterv1.MachineControlPlaneLabel]
		if !machine.DeletionTimestamp.IsZero() || !conditions.IsTrue(machine, clusterv1.MachineNodeReadyCondition) {
			return false, nil
		}
		if info := machine.Status.NodeInfo; !controlPlane && (info == nil || !strings.Contains(info.OSImage, workerImage)) {
			return false, nil
		}
	}
	return true, nil
}

// node is what the story tells of one node.
type node struct {
	Name, OSImage, Kubelet, Address, Role string
	Ready                                 bool
}

// nodes lists the nodes of the workload cluster.
func (q *quickstart) nodes(ctx context.Context) ([]node, error) {
	workload, err := q.workload(ctx)
	if err != nil {
		return nil, err
	}
	list := &corev1.NodeList{}
	if err := workload.List(ctx, list); err != nil {
		return nil, fmt.Errorf("reading the nodes: %w", err)
	}
	nodes := make([]node, 0, len(list.Items))
	for _, n := range list.Items {
		one := node{Name: n.Name, OSImage: n.Status.NodeInfo.OSImage, Kubelet: n.Status.NodeInfo.KubeletVersion, Role: "worker"}
		if _, ok := n.Labels["node-role.kubernetes.io/control-plane"]; ok {
			one.Role = "control plane"
		}
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				one.Address = a.Address
			}
		}
		for _, c := range n.Status.Conditions {
			one.Ready = one.Ready || (c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue)
		}
		nodes = append(nodes, one)
	}
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.Role+a.Name, b.Role+b.Name) })
	return nodes, nil
}

// workload returns a client of the workload cluster, and leaves its kubeconfig file for people.
func (q *quickstart) workload(ctx context.Context) (client.Client, error) {
	content, err := kubeconfig.FromSecret(ctx, q.management, client.ObjectKey{Namespace: namespace, Name: clusterName})
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of the workload cluster: %w", err)
	}
	if err := os.WriteFile(q.path("kubeconfig"), content, 0o600); err != nil {
		return nil, err
	}
	return newClient(q.path("kubeconfig"))
}

// rememberBefore keeps what the nodes ran before the replacement, for a run that was interrupted after it.
func (q *quickstart) rememberBefore(nodes []node) error {
	content, err := json.MarshalIndent(nodes, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(q.path("before.json"), content, 0o600)
}

func (q *quickstart) recallBefore() ([]node, error) {
	content, err := os.ReadFile(q.path("before.json"))
	if err != nil {
		return nil, err
	}
	var nodes []node
	return nodes, json.Unmarshal(content, &nodes)
}

// imageName is the name of the NodeImage of a version of our image.
func imageName(version string) string { return "ingot-os-" + version }

// scheme knows the kinds that the story reads.
func scheme() (*runtime.Scheme, error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1.AddToScheme, infrav1.AddToScheme} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	return known, nil
}
