// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

const (
	namespace = "default"
	endpoint  = "fake"
	imageName = "image"
	template  = "workers"
)

// plane is a management cluster that is its own workload cluster: the guests of its machines join it.
type plane struct {
	*managementplane.Plane

	client client.WithWatch
	stop   func() error
}

func startPlane(ctx context.Context, programs *components.Builder) (*plane, error) {
	management, stop, err := managementplane.StartForTest(ctx, managementplane.Options{Builder: programs, Core: true, ControllerManager: true})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	p := &plane{Plane: management, stop: stop}
	if err := builder.InstallCRDs(management.Config, builder.CRDs(programs.Repo)); err != nil {
		return nil, errors.Join(err, stop())
	}
	config := rest.CopyConfig(management.Config)
	config.QPS, config.Burst = 500, 500
	if p.client, err = builder.NewClient(config); err != nil {
		return nil, errors.Join(err, stop())
	}
	return p, nil
}

// prepare makes everything that the machines share: a Cluster whose API server is the management cluster's own.
func (p *plane) prepare(ctx context.Context, at place, inFlight int) error {
	kubeconfig, err := p.kubeconfig()
	if err != nil {
		return err
	}
	cluster := builder.Cluster(func(c *clusterv1.Cluster) {
		c.Namespace = namespace
		c.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "127.0.0.1", Port: 6443}
	})
	host, image := builder.PlatformEndpoint(endpoint), builder.NodeImage(imageName)
	machines := builder.IngotMachineTemplate(template, imageName, endpoint, func(t *infrav1.IngotMachineTemplate) { t.Namespace = namespace })
	shared := at.describe(host, image, machines)
	host.Spec.Budget.CreatesInFlight = new(int32(inFlight))
	objects := append(shared,
		host, image, cluster,
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: secret.Name(builder.ClusterName, secret.Kubeconfig), Namespace: namespace,
				Labels: map[string]string{clusterv1.ClusterNameLabel: builder.ClusterName},
			},
			Type: clusterv1.ClusterSecretType,
			Data: map[string][]byte{secret.KubeconfigDataName: kubeconfig},
		},
		builder.BootstrapData("shared", func(s *corev1.Secret) { s.Namespace = namespace }),
		machines,
	)
	for _, o := range objects {
		if err := p.client.Create(ctx, o); err != nil {
			return fmt.Errorf("%T: %w", o, err)
		}
	}
	infra := builder.IngotCluster(cluster)
	infra.Namespace = namespace
	return p.client.Create(ctx, infra)
}

// kubeconfig embeds what the plane's own file refers to.
func (p *plane) kubeconfig() ([]byte, error) {
	config, err := clientcmd.LoadFromFile(p.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return nil, err
	}
	return clientcmd.Write(*config)
}

// poolSize is the most machines of a MachineDeployment: Cluster API works through a larger one slowly, whoever makes the
// machines.
const poolSize = 500

// poolsOf spreads machines over MachineDeployments.
func poolsOf(n int) []int {
	var sizes []int
	for ; n > 0; n -= poolSize {
		sizes = append(sizes, min(n, poolSize))
	}
	return sizes
}

// deployment is the MachineDeployment of a pool, without machines.
func deployment(pool int) *clusterv1.MachineDeployment {
	name := fmt.Sprintf("%s-%d", template, pool)
	labels := map[string]string{clusterv1.ClusterNameLabel: builder.ClusterName}
	return &clusterv1.MachineDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: clusterv1.MachineDeploymentSpec{
			ClusterName: builder.ClusterName,
			Replicas:    new(int32(0)),
			Selector:    metav1.LabelSelector{MatchLabels: map[string]string{"pool": name}},
			Template: clusterv1.MachineTemplateSpec{
				ObjectMeta: clusterv1.ObjectMeta{Labels: map[string]string{"pool": name, clusterv1.ClusterNameLabel: builder.ClusterName}},
				Spec: clusterv1.MachineSpec{
					ClusterName: builder.ClusterName,
					Version:     builder.KubernetesVersion,
					Bootstrap:   clusterv1.Bootstrap{DataSecretName: new("shared")},
					InfrastructureRef: clusterv1.ContractVersionedObjectReference{
						APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachineTemplate", Name: template,
					},
				},
			},
		},
	}
}
