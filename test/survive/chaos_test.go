// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// TestChaos does to machines what people and hosts do. Each time a condition says what is wrong and what there is to do,
// nothing is damaged that is not ours, and nothing is left when the machine is deleted.
func TestChaos(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"a VM that was deleted by hand is lost, and never made again":                 deletedByHand,
		"a VM that was renamed by hand is still the machine's":                        renamedByHand,
		"a foreign VM that has our name is left alone":                                nameTaken,
		"two managers by mistake make one machine, and remove one":                    twoManagers,
		"a pool that is full before the image comes":                                  fullBeforeImage,
		"a pool that is full before the disks come":                                   fullBeforeDisks,
		"a network that is missing":                                                   missingNetwork,
		"a bootstrap Secret without data":                                             secretWithoutData,
		"a bootstrap Secret that goes between the start and the first address":        secretGoesEarly,
		"a namespace that ends takes its machine along":                               namespaceEnds,
		"a namespace that ends before its machine is made lets nothing be made in it": namespaceEndsEarly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newStory(t))
		})
	}
}

// finish deletes the machine and checks that nothing is left.
func (s *story) finish() {
	s.Helper()
	id := s.uuid()
	s.delete(s.now())
	s.die()
	s.expectNothing(id)
	s.end()
}

// domain is the handle of the machine's domain.
func (s *story) domain() golibvirt.Domain {
	s.Helper()
	d, err := s.host.admin().DomainLookupByUUID(golibvirt.UUID(uuid.MustParse(s.uuid())))
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// must fails the story at something that root does by hand.
func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// deletedByHand: virsh destroy and undefine, which leave the volumes. An instance that was made anew would have the name of
// a node that the cluster believes to know.
func deletedByHand(s *story) {
	s.begin()
	s.live()
	d := s.domain()
	s.must(s.host.admin().DomainDestroy(d))
	s.must(s.host.admin().DomainUndefineFlags(d, golibvirt.DomainUndefineNvram))
	for range 2 {
		s.restart() // without queues, a new session is what makes the manager look again
		s.until("the machine says so", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceGoneReason))
	}
	s.wantMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceGoneReason), "Delete the Machine")
	s.expect(infrav1.ReadyCondition, metav1.ConditionFalse, infrav1.InstanceGoneReason)
	if n := s.host.starts(s.T, s.name); n != 1 {
		s.Errorf("QEMU was started %d times", n)
	}
	s.finish()
}

// renamedByHand: people tidy up. What the machine is, is its uuid and the owner token.
func renamedByHand(s *story) {
	s.begin()
	s.live()
	d := s.domain()
	s.must(s.host.admin().DomainDestroy(d))
	s.restart()
	s.until("the machine has stopped", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceStoppedReason))
	_, err := s.host.admin().DomainRename(d, golibvirt.OptString{"renamed-" + s.name}, 0)
	s.must(err)
	d.Name = "renamed-" + s.name
	s.must(s.host.admin().DomainCreate(d))
	s.restart()
	s.until("the machine runs again", s.ready)
	id := s.uuid()
	s.finish()
	if all := s.host.domains(s.T, d.Name); len(all) > 0 {
		s.Errorf("domains are left: %v", all)
	}
	if left := s.host.named(s.T, d.Name, id); len(left) > 0 {
		s.Errorf("files are left: %v", left)
	}
}

// waitsForCluster has the machine wait with its identity, before anything but its image is made.
func (s *story) waitsForCluster() {
	s.Helper()
	s.begin()
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = nil })
	s.until("the machine waits for its cluster", s.says(infrav1.BootstrapAvailableCondition, infrav1.WaitingForClusterInfrastructureReason))
}

func (s *story) clusterIsThere() {
	s.Helper()
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
}

// nameTaken: a domain is found by its uuid, and a name that is taken proves nothing.
func nameTaken(s *story) {
	s.waitsForCluster()
	taken := domain{name: s.name + "-" + s.uuid()[:8], uuid: uuid.NewString()}
	d, err := s.host.admin().DomainDefineXML(fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`, taken.name, taken.uuid))
	s.must(err)
	s.must(s.host.admin().DomainCreate(d))
	before := s.host.domains(s.T, s.name)
	s.clusterIsThere()
	s.until("the machine says so", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceForeignReason))
	s.wantMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceForeignReason), taken.name, taken.uuid, "rename or remove it")
	if after := s.host.domains(s.T, s.name); !slices.Equal(before, after) {
		s.Errorf("something was changed: %v, was %v", after, before)
	}
	id := s.uuid()
	s.delete(s.now())
	s.until("the machine is gone", func() bool { return !s.exists() })
	if after := s.host.domains(s.T, s.name); !slices.Equal(before, after) {
		s.Errorf("the end of the machine changed something: %v, was %v", after, before)
	}
	s.must(s.host.admin().DomainDestroy(d))
	s.must(s.host.admin().DomainUndefine(d))
	s.die()
	s.expectNothing(id)
	s.end()
}

// twoManagers: a second Deployment without leader election, a copy of the management cluster's manager on a laptop. They
// disturb each other as they can.
func twoManagers(s *story) {
	s.begin()
	s.together("the instance is provisioned", s.provisioned)
	s.join()
	s.together("the node has joined", s.ready)
	s.clock.step(time.Hour)
	s.together("everything was looked at again", s.ready)
	var second []string
	unsealed := func(name string) bool { return !strings.HasSuffix(name, ".raw.verified") }
	if copies := slices.DeleteFunc(files(s.T, s.dir), unsealed); len(copies) == 2 {
		second = []string{".raw", ".raw.verified"} // each has finished a copy of the image; both go with the replica
	}
	s.expectOne(second...)
	id := s.uuid()
	s.delete(s.now())
	s.together("the machine is gone", func() bool { return !s.exists() })
	s.clock.step(25 * time.Hour)
	s.together("the replica is gone", func() bool { return len(s.replicas()) == 0 })
	// A copy that one manager finishes after the other has removed the replica stays: verified, and used by the next machine.
	// It may be finished only now, as long as the manager lives.
	s.restart()
	for _, name := range files(s.T, s.dir) {
		if strings.HasPrefix(name, "ingot-image-") {
			s.must(os.Remove(filepath.Join(s.dir, name)))
		}
	}
	s.expectNothing(id)
	s.end()
}

// together has two managers work at the same time until something is so. Errors are tried again, as queues do.
func (s *story) together(what string, is func() bool) {
	s.Helper()
	other := *s
	other.manager = newManager(s.T, s.host, s.client, s.clock, nil)
	defer other.manager.kill()
	begin := time.Now()
	for !is() {
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i, one := range []*story{s, &other} {
			both.Go(func() { errs[i] = one.roundAlone() })
		}
		both.Wait()
		if time.Since(begin) > patience {
			s.Fatalf("two managers never come to it that %s: %s\nerrors: %v", what, s.describe(), errs)
		}
		s.playAddresses()
		s.idle(0)
	}
}

// roundAlone is a round without waiting for others.
func (s *story) roundAlone() error {
	ctx := quiet(s.Context())
	if _, err := s.manager.endpoints.Reconcile(ctx, request(client.ObjectKey{Name: s.name})); err != nil {
		return err
	}
	if _, err := s.manager.machines.Reconcile(ctx, request(s.key(s.name))); err != nil {
		return err
	}
	list := &ingotv1.ImageReplicaList{}
	if err := s.client.List(ctx, list); err != nil {
		return err
	}
	for i := range list.Items {
		if list.Items[i].Spec.EndpointName != s.name {
			continue
		}
		if _, err := s.manager.replicas.Reconcile(ctx, request(client.ObjectKeyFromObject(&list.Items[i]))); err != nil {
			return err
		}
	}
	return nil
}

// onSmallPool puts the machine on a pool that is easily filled, and fills it but for some bytes.
func (s *story) onSmallPool(leave int64) (empty func()) {
	s.Helper()
	pool := "small-" + s.name
	s.infra.Spec.Platform.Libvirt.StoragePool = pool
	s.dir = s.host.fill(s.T)
	s.host.makePool(s.T, pool, s.dir)
	ballast := filepath.Join(s.dir, "ballast")
	s.must(os.WriteFile(ballast, make([]byte, smallRoom-leave), 0o600))
	return func() { s.must(os.Remove(ballast)) }
}

// fullBeforeImage: nothing of an image that does not fit may stay, or the pool is never empty again.
func fullBeforeImage(s *story) {
	empty := s.onSmallPool(64 << 10)
	s.begin()
	s.until("the machine says so", s.says(infrav1.ImageReplicatedCondition, infrav1.ImageReplicaFailedReason))
	message := s.expect(infrav1.ImageReplicatedCondition, metav1.ConditionFalse, infrav1.ImageReplicaFailedReason)
	s.wantMessage(message, "small-"+s.name, "no capacity")
	s.expectFiles("ballast")
	empty()
	s.live()
	s.expectOne()
	s.finish()
}

// fullBeforeDisks: QEMU stops a guest whose disk cannot grow, so a machine is not begun in a pool that is full.
func fullBeforeDisks(s *story) {
	empty := s.onSmallPool(2 << 20)
	s.begin()
	s.until("the machine says so", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceRefusedReason))
	message := s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceRefusedReason)
	s.wantMessage(message, "small-"+s.name, "no capacity", "make room")
	if all := s.host.domains(s.T, s.name); len(all) > 0 {
		s.Errorf("domains were made: %v", all)
	}
	empty()
	s.live()
	s.expectOne()
	s.finish()
}

// missingNetwork: a mistyped network, or one that root has not made yet.
func missingNetwork(s *story) {
	s.infra.Spec.Networks[0].Name = s.name
	s.begin()
	s.until("the machine says so", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceRefusedReason))
	s.wantMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceRefusedReason), "spec.networks[0]", s.name)
	if all := s.host.domains(s.T, s.name); len(all) > 0 {
		s.Errorf("domains were made: %v", all)
	}
	// Once it is there, the machine goes on. It gives out no addresses: the address is on the CD-ROM.
	network, err := s.host.admin().NetworkDefineXML("<network><name>" + s.name + "</name><forward mode='bridge'/><bridge name='virbr0'/></network>")
	s.must(err)
	s.must(s.host.admin().NetworkCreate(network))
	s.Cleanup(func() { _, _ = s.host.admin().NetworkDestroy(network), s.host.admin().NetworkUndefine(network) })
	s.live()
	if n := s.host.starts(s.T, s.name); n != 1 {
		s.Errorf("QEMU was started %d times", n)
	}
	s.must(s.host.admin().NetworkDestroy(network)) // under a machine that runs; its end must not need it
	s.must(s.host.admin().NetworkUndefine(network))
	s.finish()
}

// secretWithoutData: a bootstrap provider that published too early, or a person who edited.
func secretWithoutData(s *story) {
	data := s.data.Data["value"]
	delete(s.data.Data, "value")
	s.begin()
	s.until("the machine says so", s.says(infrav1.BootstrapAvailableCondition, infrav1.WaitingForBootstrapDataReason))
	s.wantMessage(s.expect(infrav1.BootstrapAvailableCondition, metav1.ConditionFalse, infrav1.WaitingForBootstrapDataReason), `no key "value"`, s.name)
	if all := s.host.domains(s.T, s.name); len(all) > 0 {
		s.Errorf("domains were made: %v", all)
	}
	patch(s, s.data, func(secret *corev1.Secret) { secret.Data["value"] = data })
	s.live()
	s.expectOne()
	s.finish()
}

// secretGoesEarly: the guest has its data. That the Secret is gone is no reason to forget a machine that runs.
func secretGoesEarly(s *story) {
	s.infra.Spec.Networks[0].AddressesFromPools = nil
	s.begin()
	s.until("the instance runs without an address", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceWaitingForAddressReason))
	s.delete(s.data)
	for range 2 {
		s.until("the instance waits for its address", s.says(infrav1.InstanceReadyCondition, infrav1.InstanceWaitingForAddressReason))
		s.restart()
	}
	s.until("the instance has its address", func() bool {
		s.host.lease(s.T, s.domain(), s.address) // dnsmasq drops it when other machines' reservations change
		return s.provisioned()
	})
	s.live()
	if n := s.host.starts(s.T, s.name); n != 1 {
		s.Errorf("QEMU was started %d times", n)
	}
	s.finish()
}

// namespaceEnds: everything in the namespace is deleted at once, Machine, Secret and Cluster first.
func namespaceEnds(s *story) {
	s.begin()
	s.live()
	s.expectNamespaceEnds(s.uuid())
}

// namespaceEndsEarly: in a namespace that ends nothing can be created, and what was begun is taken back.
func namespaceEndsEarly(s *story) {
	s.waitsForCluster()
	s.clusterIsThere()
	s.expectNamespaceEnds(s.uuid())
}

func (s *story) expectNamespaceEnds(id string) {
	s.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
	s.delete(namespace)
	s.until("the machine is gone", func() bool { return !s.exists() })
	s.until("the namespace is gone", func() bool {
		return apierrors.IsNotFound(s.client.Get(s.Context(), client.ObjectKeyFromObject(namespace), namespace))
	})
	s.die()
	s.expectNothing(id)
	s.end()
}

// describeDomain is a line for each domain.
func (d domain) String() string {
	return strings.Join([]string{d.name, d.uuid, fmt.Sprint(d.runs)}, " ")
}
