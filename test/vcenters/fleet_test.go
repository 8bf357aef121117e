// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenters_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/managers"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// patience is for a busy machine, and longer than a session takes to find out that nobody answers.
const patience = 4 * time.Minute

// fleet is a cluster, a whole manager, and what is made of it on vCenters. A manager watches all namespaces: there is one fleet
// at a time.
type fleet struct {
	*testing.T

	name, template string
}

// newFleet makes a cluster and an image, and starts the manager. All of it ends with the returned function.
func newFleet(t *testing.T) (f *fleet, end func()) {
	t.Helper()
	f = &fleet{T: t, template: uuid.NewString()}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vcenters-"}}
	f.create(namespace)
	f.name = namespace.Name
	cluster := builder.Cluster()
	cluster.Namespace = f.name
	f.create(cluster)
	builder.PatchStatus(t, client.Client(apiServer), cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
	image := builder.NodeImage(f.name, func(i *ingotv1.NodeImage) {
		i.Spec.Artefacts = []ingotv1.Artefact{{
			Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatTemplate, Source: "template://" + f.template,
			SHA256: builder.Digest(f.name), SizeBytes: 1 << 20,
		}}
	})
	f.create(image)
	f.create(builder.BootstrapData(f.name, func(s *corev1.Secret) { s.Namespace = f.name }))
	halt, err := managers.Start(t.Context(), apiConfig, func(ctx context.Context) session.Opener { return registry.Opener(ctx, logr.Discard()) })
	if err != nil {
		t.Fatal(err)
	}
	return f, func() {
		if err := halt(); err != nil {
			t.Errorf("the manager ended: %v", err)
		}
		if err := apiServer.Delete(context.WithoutCancel(t.Context()), image); err != nil {
			t.Error(err)
		}
	}
}

// site is a vCenter, the way to it, and its endpoint.
type site struct {
	*vcenter.VCenter

	door     *vcenter.Door
	endpoint *ingotv1.PlatformEndpoint
}

// site starts a vCenter with the template, whose guests take addresses, and makes its endpoint. judge says what the door does.
func (f *fleet) site(name string, judge func(method string) vcenter.Verdict) (s *site, end func()) {
	f.Helper()
	v, err := vcenter.Start(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	err = v.Make(f.Context(), vcenter.Spec{
		Name: "template", UUID: f.template, Template: true, DiskBytes: 1 << 20, Extra: map[string]string{"ingot.image.sha256": builder.Digest(f.name)},
	})
	if err != nil {
		f.Fatal(err)
	}
	s = &site{VCenter: v, door: v.Door()}
	s.door.Judge(judge)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.name, Name: name}, Data: map[string][]byte{
		"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": s.door.CA(),
	}}
	f.create(secret)
	s.endpoint = builder.PlatformEndpoint(f.name+"-"+name, func(e *ingotv1.PlatformEndpoint) {
		e.Spec = ingotv1.PlatformEndpointSpec{
			VSphere:        ingotv1.VSphereEndpoint{Server: s.door.Address()},
			CredentialsRef: ingotv1.SecretReference{Namespace: f.name, Name: secret.Name},
			Capacity:       ingotv1.EndpointCapacity{Memory: new(resource.MustParse("1Ti"))}, // the simulator has 8Gi
		}
	})
	f.create(s.endpoint)
	ctx, cancel := context.WithCancel(f.Context())
	var guests sync.WaitGroup
	guests.Go(func() { s.boot(ctx) })
	return s, func() {
		cancel()
		guests.Wait()
		s.door.Close()
		v.Stop(context.WithoutCancel(f.Context()))
	}
}

// boot gives machines that run addresses until the context ends.
func (s *site) boot(ctx context.Context) {
	given := map[string]bool{}
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		all, err := s.Machines(ctx)
		if err != nil {
			continue
		}
		for id, m := range all {
			if m.Running && m.Extra["ingot.machine"] == id && !given[id] {
				given[id] = s.GiveAddress(ctx, id, fmt.Sprintf("192.0.2.%d", 10+len(given))) == nil
			}
		}
	}
}

// machines makes machines on an endpoint.
func (f *fleet) machines(n int, on *site) {
	f.Helper()
	for i := range n {
		owner := builder.Machine(fmt.Sprintf("%s-%02d", on.endpoint.Name, i), func(m *clusterv1.Machine) {
			m.Namespace = f.name
			m.Spec.Bootstrap.DataSecretName = &f.name
		})
		f.create(owner)
		infra := builder.IngotMachine(owner, f.name, on.endpoint.Name, func(m *infrav1.IngotMachine) {
			m.Spec.Platform = infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{
				EndpointName: on.endpoint.Name, Datacenter: vcenter.Datacenter, Datastore: vcenter.Datastore, ResourcePool: vcenter.Cluster,
			}}
			m.Spec.Networks = []infrav1.MachineNetwork{{Name: vcenter.Network}}
		})
		infra.Namespace = f.name
		f.create(infra)
	}
}

func (f *fleet) create(object client.Object) {
	f.Helper()
	if err := apiServer.Create(f.Context(), object); err != nil {
		f.Fatalf("creating %T: %v", object, err)
	}
}

// on are the machines on an endpoint, and how many of them are provisioned.
func (f *fleet) on(s *site) (machines []infrav1.IngotMachine, provisioned int) {
	f.Helper()
	list := &infrav1.IngotMachineList{}
	if err := apiServer.List(f.Context(), list, client.InNamespace(f.name)); err != nil {
		f.Fatal(err)
	}
	for _, m := range list.Items {
		if m.Spec.Platform.VSphere.EndpointName != s.endpoint.Name {
			continue
		}
		machines = append(machines, m)
		if told := m.Status.Initialization.Provisioned; told != nil && *told {
			provisioned++
		}
	}
	return machines, provisioned
}

// eventually waits until something is so.
func (f *fleet) eventually(what string, is func() bool) {
	f.Helper()
	for begin := time.Now(); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			f.Fatalf("waited %s in vain until %s", patience, what)
		}
	}
}

// delete asks for the end of all machines.
func (f *fleet) delete() {
	f.Helper()
	if err := apiServer.DeleteAllOf(f.Context(), &infrav1.IngotMachine{}, client.InNamespace(f.name)); err != nil {
		f.Fatal(err)
	}
}
