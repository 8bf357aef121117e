// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// patience is how long a story may take to come to one thing. It needs seconds; the rest is for a machine under load.
const patience = 3 * time.Minute

var errNoWorkload = errors.New("the workload cluster does not answer")

// story is one Machine and the world around it, with one manager at a time. Everything in it is called like its namespace.
type story struct {
	*testing.T

	host    *host
	client  client.WithWatch
	name    string
	clock   *ahead
	address netip.Addr

	image    *ingotv1.NodeImage
	endpoint *ingotv1.PlatformEndpoint
	cluster  *clusterv1.Cluster
	machine  *clusterv1.Machine
	infra    *infrav1.IngotMachine
	data     *corev1.Secret

	manager *manager
	// dir is the directory of the machine's pool.
	dir string
	// death is how the next manager is to end.
	death  *death
	deaths int
}

func newStory(t *testing.T) *story {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "survive-"}}
	if err := shared.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	name := namespace.Name
	s := &story{
		T: t, host: shared.host, client: shared.client, name: name, clock: &ahead{},
		address: shared.host.lend(t),
		image:   builder.NodeImage(name, shared.host.artefact),
		endpoint: builder.PlatformEndpoint(name, func(e *ingotv1.PlatformEndpoint) {
			e.Spec.Libvirt.Acceleration = ingotv1.AccelerationEmulated
			// Whatever is taken for an orphan is removed: a wrong guess would be seen.
			e.Spec.Orphans = ingotv1.OrphanPolicy{Mode: ingotv1.OrphanModeCollect, MinAgeMinutes: 10}
		}),
		cluster: builder.Cluster(),
		machine: builder.Machine(name),
		data:    builder.BootstrapData(name),
	}
	s.infra = builder.IngotMachine(s.machine, name, name, s.shape)
	s.dir = filepath.Join(filepath.Dir(s.host.options.StateDir), "pools", name)
	s.host.makePool(t, name, s.dir)
	return s
}

// shape gives a machine everything that could be left behind.
func (s *story) shape(m *infrav1.IngotMachine) {
	m.Spec.Resources = infrav1.MachineResources{CPUs: 1, Memory: resource.MustParse("256Mi")}
	m.Spec.Disks = []infrav1.MachineDisk{{Name: "data", Size: resource.MustParse("8Mi")}}
	m.Spec.Networks = []infrav1.MachineNetwork{{
		Name:               s.host.libvirt.Network,
		AddressesFromPools: []infrav1.AddressPoolReference{{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: "pool"}},
	}}
	m.Spec.Platform.Libvirt.StoragePool = s.name
}

// begin creates what users and Cluster API create, and starts a manager.
func (s *story) begin() {
	s.Helper()
	for _, object := range []client.Object{s.image, s.endpoint, s.cluster} {
		s.create(object)
	}
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
	if s.data != nil {
		s.create(s.data)
	}
	s.create(s.machine)
	s.infra.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s.machine, clusterv1.GroupVersion.WithKind("Machine"))}
	s.create(s.infra)
	s.restart()
}

// restart replaces the manager by one that remembers nothing.
func (s *story) restart() {
	s.Helper()
	if s.manager != nil {
		s.manager.kill()
		s.awaitCut()
	}
	s.manager = newManager(s.T, s.host, s.client, s.clock, s.death)
	s.death = nil
}

// awaitCut waits until the wire of a dead manager is cut: a call that is to be carried out is carried out by then.
func (s *story) awaitCut() {
	s.Helper()
	for deadline := time.Now().Add(patience); !s.manager.wire.Severed(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("the call at which the manager died has no end: %v", s.manager.death)
		}
	}
}

// until goes on until something is so and nothing changes any more, whatever number of managers that takes.
func (s *story) until(what string, is func() bool) {
	s.Helper()
	begin, troubles := time.Now(), []error(nil)
	for {
		before := s.versions()
		wait, err := s.round()
		switch {
		case s.manager.isDead():
			s.awaitCut()
			s.deaths++
			s.restart()
			continue
		case s.versions() != before:
			continue
		case err != nil:
			troubles = append(troubles, err)
			s.clock.step(time.Second) // the queue waits too
		case is():
			return
		}
		if time.Since(begin) > patience || len(troubles) > 50 {
			s.Fatalf("it never comes to it that %s: %s\nerrors: %v\nacts: %v", what, s.describe(), troubles, s.manager.done())
		}
		s.idle(wait)
	}
}

// round is one pass over everything, as the queues would have it. It returns how long the first that waits for time
// waits.
func (s *story) round() (time.Duration, error) {
	s.Helper()
	wait := time.Duration(0)
	for _, pass := range []func() (ctrl.Result, error){s.passEndpoint, s.passMachine, s.passReplicas} {
		result, err := pass()
		if err != nil || s.manager.isDead() {
			return 0, err
		}
		if wait == 0 || result.RequeueAfter > 0 && result.RequeueAfter < wait {
			wait = result.RequeueAfter
		}
	}
	s.playAddresses()
	return wait, nil
}

func (s *story) passEndpoint() (ctrl.Result, error) {
	s.Helper()
	return s.manager.endpoints.Reconcile(quiet(s.Context()), request(client.ObjectKey{Name: s.name}))
}

func (s *story) passMachine() (ctrl.Result, error) {
	s.Helper()
	return s.manager.machines.Reconcile(quiet(s.Context()), request(s.key(s.name)))
}

func (s *story) passReplicas() (first ctrl.Result, err error) {
	s.Helper()
	for _, replica := range s.replicas() {
		ended := s.manager.copied()
		result, err := s.manager.replicas.Reconcile(quiet(s.Context()), request(client.ObjectKeyFromObject(&replica)))
		if err != nil || s.manager.isDead() {
			return result, err
		}
		first = result
		if s.copying(replica.Name) {
			s.awaitCopy(ended)
		}
	}
	return first, nil
}

// copying is whether the replica's copy is under way.
func (s *story) copying(name string) bool {
	s.Helper()
	replica := &ingotv1.ImageReplica{}
	if err := s.client.Get(s.Context(), client.ObjectKey{Name: name}, replica); err != nil {
		return false
	}
	return conditions.GetReason(replica, ingotv1.ImageReplicaReadyCondition) == ingotv1.ImageReplicaCopyingReason
}

// awaitCopy waits until one more copy has ended, so that a journey is the same each time.
func (s *story) awaitCopy(ended int) {
	s.Helper()
	for deadline := time.Now().Add(patience); s.manager.copied() == ended && !s.manager.isDead(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatal("the copy does not end")
		}
	}
	s.clock.step(5 * time.Second) // without its queue, the replica looks again when it is time to
}

// idle lets time pass: on the clock as long as everybody waits, and a moment for what is really under way.
func (s *story) idle(wait time.Duration) {
	s.clock.step(min(max(wait, time.Second), time.Minute))
	time.Sleep(20 * time.Millisecond)
}

// playAddresses does what a provider of addresses does: it answers claims, and takes addresses back when their claims are
// deleted.
func (s *story) playAddresses() {
	s.Helper()
	claims, addresses := &ipamv1.IPAddressClaimList{}, &ipamv1.IPAddressList{}
	s.list(claims)
	s.list(addresses)
	for i := range addresses.Items {
		address := &addresses.Items[i]
		claimed := slices.ContainsFunc(claims.Items, func(c ipamv1.IPAddressClaim) bool {
			return c.Name == address.Spec.ClaimRef.Name && c.DeletionTimestamp.IsZero()
		})
		if !claimed && address.DeletionTimestamp.IsZero() {
			s.delete(address)
		}
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		if claim.Status.AddressRef.Name != "" || !claim.DeletionTimestamp.IsZero() {
			continue
		}
		address := &ipamv1.IPAddress{
			ObjectMeta: metav1.ObjectMeta{Name: claim.Name},
			Spec: ipamv1.IPAddressSpec{
				ClaimRef: ipamv1.IPAddressClaimReference{Name: claim.Name}, PoolRef: claim.Spec.PoolRef,
				Address: s.address.String(), Prefix: new(int32(s.host.libvirt.Subnet.Bits())), Gateway: s.host.libvirt.Gateway.String(),
			},
		}
		s.create(address)
		patchStatus(s, claim, func(c *ipamv1.IPAddressClaim) { c.Status.AddressRef.Name = address.Name })
	}
}

// live takes the machine from nothing to a joined node.
func (s *story) live() {
	s.Helper()
	s.until("the instance is provisioned", s.provisioned)
	s.join()
	s.until("the node has joined", s.ready)
}

func (s *story) provisioned() bool {
	told := s.now().Status.Initialization.Provisioned
	return told != nil && *told
}

func (s *story) ready() bool { return conditions.IsTrue(s.now(), infrav1.ReadyCondition) }

// join does what Cluster API does once the instance is there and its Node has joined.
func (s *story) join() {
	s.Helper()
	patch(s, s.machineNow(), func(m *clusterv1.Machine) { m.Spec.ProviderID = s.now().Spec.ProviderID })
	patchStatus(s, s.machineNow(), func(m *clusterv1.Machine) {
		m.Status.NodeRef.Name = s.name
		m.Status.NodeInfo = &corev1.NodeSystemInfo{OSImage: s.image.Spec.NodeIdentity.OSImage, KubeletVersion: builder.KubernetesVersion}
	})
}

// die takes the machine from whatever it is to nothing, and then its image's replica.
func (s *story) die() {
	s.Helper()
	s.until("the machine is gone", func() bool { return !s.exists() })
	s.clock.step(25 * time.Hour) // unused replicas stay for a day
	s.until("the replica is gone", func() bool { return len(s.replicas()) == 0 })
}

func (s *story) exists() bool {
	s.Helper()
	err := s.client.Get(s.Context(), s.key(s.name), &infrav1.IngotMachine{})
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return err == nil
}

func (s *story) replicas() []ingotv1.ImageReplica {
	s.Helper()
	list := &ingotv1.ImageReplicaList{}
	if err := s.client.List(s.Context(), list); err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(r ingotv1.ImageReplica) bool { return r.Spec.EndpointName != s.name })
}

// versions changes when anything changes that the manager or who is played writes.
func (s *story) versions() string {
	s.Helper()
	var versions []string
	for _, object := range []client.Object{&infrav1.IngotMachine{}, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddress{}, &ingotv1.PlatformEndpoint{}} {
		key := s.key(s.name)
		switch object.(type) {
		case *ingotv1.PlatformEndpoint:
			key.Namespace = ""
		case *ipamv1.IPAddressClaim, *ipamv1.IPAddress:
			key.Name += "-0-0"
		}
		if err := s.client.Get(s.Context(), key, object); client.IgnoreNotFound(err) != nil {
			s.Fatal(err)
		}
		versions = append(versions, object.GetResourceVersion())
	}
	for _, replica := range s.replicas() {
		versions = append(versions, replica.ResourceVersion)
	}
	return strings.Join(versions, " ")
}

// describe says how everything is, for a person whose test failed.
func (s *story) describe() string {
	var out strings.Builder
	infra := &infrav1.IngotMachine{}
	if err := s.client.Get(s.Context(), s.key(s.name), infra); err != nil {
		fmt.Fprintf(&out, "IngotMachine: %v\n", err)
	}
	fmt.Fprintf(&out, "IngotMachine: %v\n", infra.Status.Conditions)
	for _, replica := range s.replicas() {
		fmt.Fprintf(&out, "ImageReplica %s: %v\n", replica.Name, replica.Status.Conditions)
	}
	endpoint := &ingotv1.PlatformEndpoint{}
	if err := s.client.Get(s.Context(), client.ObjectKey{Name: s.name}, endpoint); err == nil {
		fmt.Fprintf(&out, "PlatformEndpoint: %v\n", endpoint.Status.Conditions)
	}
	return out.String()
}

// now is the IngotMachine as it is now.
func (s *story) now() *infrav1.IngotMachine {
	s.Helper()
	infra := &infrav1.IngotMachine{}
	if err := s.client.Get(s.Context(), s.key(s.name), infra); err != nil {
		s.Fatal(err)
	}
	return infra
}

func (s *story) machineNow() *clusterv1.Machine {
	s.Helper()
	m := &clusterv1.Machine{}
	if err := s.client.Get(s.Context(), s.key(s.name), m); err != nil {
		s.Fatal(err)
	}
	return m
}

// uuid is the identity of the machine.
func (s *story) uuid() string {
	s.Helper()
	return strings.TrimPrefix(s.now().Spec.ProviderID, "ingot://")
}

// expect checks status and reason of a condition of the machine and returns its message.
func (s *story) expect(condition string, status metav1.ConditionStatus, reason string) string {
	s.Helper()
	c := conditions.Get(s.now(), condition)
	if c == nil {
		s.Errorf("there is no condition %s: %s", condition, s.describe())
		return ""
	}
	if c.Status != status || c.Reason != reason {
		s.Errorf("condition %s is %s/%s (%s), want %s/%s", condition, c.Status, c.Reason, c.Message, status, reason)
	}
	return c.Message
}

// says is whether a condition of the machine has a reason.
func (s *story) says(condition, reason string) func() bool {
	return func() bool { return conditions.GetReason(s.now(), condition) == reason }
}

// wantMessage checks that a person finds in a message what there is to do.
func (s *story) wantMessage(message string, parts ...string) {
	s.Helper()
	for _, part := range parts {
		if !strings.Contains(message, part) {
			s.Errorf("the message %q does not say %q", message, part)
		}
	}
}

func (s *story) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.name, Name: name}
}

func request(key client.ObjectKey) ctrl.Request { return ctrl.Request{NamespacedName: key} }

// create creates an object, in the story's namespace if its kind has one.
func (s *story) create(object client.Object) {
	s.Helper()
	if namespaced, err := s.client.IsObjectNamespaced(object); err != nil {
		s.Fatal(err)
	} else if namespaced {
		object.SetNamespace(s.name)
	}
	if err := s.client.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T: %v", object, err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := s.client.Delete(s.Context(), object); err != nil && !apierrors.IsNotFound(err) {
		s.Fatalf("deleting %T: %v", object, err)
	}
}

func (s *story) list(list client.ObjectList) {
	s.Helper()
	if err := s.client.List(s.Context(), list, client.InNamespace(s.name)); err != nil {
		s.Fatal(err)
	}
}

// patch changes metadata and spec of an object.
func patch[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.Patch(s, s.client, object, change)
}

// patchStatus changes the status of an object.
func patchStatus[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.PatchStatus(s, s.client, object, change)
}
