// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/cluster"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var apiServer client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithAPIServer(m.Run, func(c client.WithWatch) { apiServer = c }))
}

func TestClusters(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"an endpoint that the user names is passed on":               passesEndpoint,
		"the Cluster may name the endpoint instead":                  takesClustersEndpoint,
		"without an endpoint it waits and says where to write it":    waitsForEndpoint,
		"failure domains are passed on":                              passesFailureDomains,
		"a failure domain that nobody has is told before machines":   waitsForFailureDomain,
		"a paused cluster is not touched":                            pauses,
		"a deleted cluster waits for its machines":                   waitsForMachines,
		"a deleted cluster whose Cluster is gone already still goes": outlivesOwner,
		"what nobody owns is left alone":                             waitsForOwner,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newStory(t))
		})
	}
}

// story is one Cluster with its IngotCluster.
type story struct {
	*testing.T

	writes  *builder.Writes
	cluster *clusterv1.Cluster
	infra   *infrav1.IngotCluster
	passes  *cluster.Reconciler
}

func newStory(t *testing.T) *story {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	if err := apiServer.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	s := &story{T: t, cluster: builder.Cluster(), writes: &builder.Writes{}}
	s.cluster.Namespace = namespace.Name
	s.infra = builder.IngotCluster(s.cluster)
	s.passes = &cluster.Reconciler{Client: s.writes.Through(apiServer)}
	return s
}

func (s *story) begin() {
	s.Helper()
	s.create(s.cluster)
	s.infra.OwnerReferences[0].UID = s.cluster.UID
	s.create(s.infra)
}

func (s *story) create(object client.Object) {
	s.Helper()
	object.SetNamespace(s.cluster.Namespace)
	if err := apiServer.Create(s.Context(), object); err != nil {
		s.Fatal(err)
	}
}

// settle runs passes until one writes nothing.
func (s *story) settle() {
	s.Helper()
	for range 20 {
		before := len(s.writes.Done())
		if _, err := s.passes.Reconcile(s.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.infra)}); err != nil {
			s.Fatal(err)
		}
		if len(s.writes.Done()) == before {
			return
		}
	}
	s.Fatalf("it does not settle: %q", s.writes.Done())
}

// look returns whether the IngotCluster exists, and reads it.
func (s *story) look() bool {
	s.Helper()
	err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(s.infra), s.infra)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
}

func (s *story) expect(status metav1.ConditionStatus, reason string) string {
	s.Helper()
	if !s.look() {
		s.Fatal("the IngotCluster is gone")
	}
	ready := conditions.Get(s.infra, infrav1.ReadyCondition)
	if ready == nil || ready.Status != status || ready.Reason != reason {
		s.Fatalf("Ready is %v, want %s/%s", ready, status, reason)
	}
	return ready.Message
}

func (s *story) expectProvisioned(want bool) {
	s.Helper()
	told := s.infra.Status.Initialization.Provisioned
	if got := told != nil && *told; got != want {
		s.Errorf("provisioned is %t, want %t", got, want)
	}
}

func (s *story) patch(object client.Object, change func()) {
	s.Helper()
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		s.Fatal("not an object")
	}
	change()
	if err := apiServer.Patch(s.Context(), object, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// passesEndpoint is all that Cluster API waits for; a stable cluster costs nothing afterwards.
func passesEndpoint(s *story) {
	s.begin()
	s.settle()
	s.expect(metav1.ConditionTrue, infrav1.ClusterProvisionedReason)
	s.expectProvisioned(true)
	before := s.infra.ResourceVersion
	s.settle()
	if s.look(); s.infra.ResourceVersion != before {
		s.Error("a pass over a stable cluster wrote something")
	}
}

// takesClustersEndpoint: whoever has a load balancer may write it where Cluster API reads it.
func takesClustersEndpoint(s *story) {
	s.infra.Spec.ControlPlaneEndpoint = infrav1.APIEndpoint{}
	s.cluster.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "192.0.2.10", Port: 6443}
	s.begin()
	s.settle()
	s.expect(metav1.ConditionTrue, infrav1.ClusterProvisionedReason)
	s.expectProvisioned(true)
}

// waitsForEndpoint: half an endpoint is none, and machines that start without one can never join.
func waitsForEndpoint(s *story) {
	s.infra.Spec.ControlPlaneEndpoint.Port = 0
	s.begin()
	s.settle()
	message := s.expect(metav1.ConditionFalse, infrav1.ClusterWaitingForEndpointReason)
	if !strings.Contains(message, "spec.controlPlaneEndpoint") {
		s.Errorf("the message does not say where to write it: %s", message)
	}
	s.expectProvisioned(false)
	s.patch(s.infra, func() { s.infra.Spec.ControlPlaneEndpoint.Port = 6443 })
	s.settle()
	s.expect(metav1.ConditionTrue, infrav1.ClusterProvisionedReason)
	s.patch(s.infra, func() { s.infra.Spec.ControlPlaneEndpoint.Port = 0 })
	s.settle()
	s.expect(metav1.ConditionFalse, infrav1.ClusterWaitingForEndpointReason)
	s.expectProvisioned(true) // the contract: it never goes back
}

// passesFailureDomains: Cluster API spreads control planes over what it reads here.
func passesFailureDomains(s *story) {
	s.infra.Spec.FailureDomains = []clusterv1.FailureDomain{{Name: "rack-a", ControlPlane: new(true)}, {Name: "rack-b"}}
	s.haveEndpoint("-a", ingotv1.PlatformEndpointSpec{FailureDomain: "rack-a"})
	s.haveEndpoint("-b", ingotv1.PlatformEndpointSpec{FailureDomain: "rack-b"})
	s.begin()
	s.settle()
	s.look()
	if names := []string{s.infra.Status.FailureDomains[0].Name, s.infra.Status.FailureDomains[1].Name}; !slices.Equal(names, []string{"rack-a", "rack-b"}) {
		s.Errorf("the failure domains are %v", names)
	}
}

// waitsForFailureDomain: machines in a failure domain that no endpoint has could never be placed, so none are made. One
// that an endpoint comes to have is taken.
func waitsForFailureDomain(s *story) {
	domain := s.cluster.Namespace + "-az2"
	s.infra.Spec.FailureDomains = []clusterv1.FailureDomain{{Name: s.cluster.Namespace + "-az1"}, {Name: domain}}
	endpoint := s.haveEndpoint("", ingotv1.PlatformEndpointSpec{
		VSphere: ingotv1.VSphereEndpoint{
			Server:         "vcenter.example.org",
			FailureDomains: []ingotv1.VSphereFailureDomain{{Name: s.cluster.Namespace + "-az1", ResourcePool: "cluster-1"}},
		},
		CredentialsRef: ingotv1.SecretReference{Namespace: "default", Name: "vcenter"},
	})
	s.begin()
	s.settle()
	message := s.expect(metav1.ConditionFalse, infrav1.ClusterFailureDomainUnknownReason)
	for _, part := range []string{"spec.failureDomains[1].name of IngotCluster demo", domain, "spec.vsphere.failureDomains"} {
		if !strings.Contains(message, part) {
			s.Errorf("the message does not say %q: %s", part, message)
		}
	}
	s.expectProvisioned(false)
	s.patch(endpoint, func() {
		endpoint.Spec.VSphere.FailureDomains = append(endpoint.Spec.VSphere.FailureDomains, ingotv1.VSphereFailureDomain{Name: domain, ResourcePool: "cluster-2"})
	})
	s.settle()
	s.expect(metav1.ConditionTrue, infrav1.ClusterProvisionedReason)
	s.expectProvisioned(true)
}

// haveEndpoint makes an endpoint, which is a libvirt host unless it says otherwise.
func (s *story) haveEndpoint(suffix string, spec ingotv1.PlatformEndpointSpec) *ingotv1.PlatformEndpoint {
	s.Helper()
	endpoint := builder.PlatformEndpoint(s.cluster.Namespace + suffix)
	if spec.VSphere.Server == "" {
		spec.Libvirt = endpoint.Spec.Libvirt
	}
	endpoint.Spec = spec
	if err := apiServer.Create(s.Context(), endpoint); err != nil {
		s.Fatal(err)
	}
	return endpoint
}

// pauses: a move relies on nothing changing meanwhile.
func pauses(s *story) {
	s.cluster.Spec.Paused = new(true)
	s.begin()
	s.settle()
	s.look()
	s.expectProvisioned(false)
	if !conditions.IsTrue(s.infra, clusterv1.PausedCondition) {
		s.Error("it does not say that it is paused")
	}
	s.patch(s.cluster, func() { s.cluster.Spec.Paused = nil })
	s.settle()
	s.expect(metav1.ConditionTrue, infrav1.ClusterProvisionedReason)
}

// waitsForMachines: machines read the cluster while they are released.
func waitsForMachines(s *story) {
	s.begin()
	s.settle()
	machine := builder.IngotMachine(builder.Machine("demo-1"), "image", "endpoint")
	machine.OwnerReferences = nil
	s.create(machine)
	if err := apiServer.Delete(s.Context(), s.infra); err != nil {
		s.Fatal(err)
	}
	s.settle()
	s.expect(metav1.ConditionFalse, infrav1.ClusterWaitingForMachinesReason)
	if err := apiServer.Delete(s.Context(), machine); err != nil {
		s.Fatal(err)
	}
	s.settle()
	if s.look() {
		s.Error("it stays without machines")
	}
}

// outlivesOwner: whoever force-deletes a Cluster must still get rid of its parts.
func outlivesOwner(s *story) {
	s.begin()
	s.settle()
	for _, object := range []client.Object{s.cluster, s.infra} {
		if err := apiServer.Delete(s.Context(), object); err != nil {
			s.Fatal(err)
		}
	}
	s.settle()
	if s.look() {
		s.Errorf("it stays for ever: %v", s.infra.Status.Conditions)
	}
}

// waitsForOwner: Cluster API makes its Cluster the owner; until then it is none of our business.
func waitsForOwner(s *story) {
	s.infra.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Any", Name: "any", UID: "any"}}
	s.create(s.cluster)
	s.create(s.infra)
	s.settle()
	s.look()
	if len(s.infra.Finalizers) > 0 || len(s.infra.Status.Conditions) > 0 {
		s.Errorf("it was touched: %v, %v", s.infra.Finalizers, s.infra.Status.Conditions)
	}
}
