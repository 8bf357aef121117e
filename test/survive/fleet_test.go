// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/managers"
)

// fleet is several machines of one cluster, and a whole manager with its queues and caches that makes them. A manager
// watches all namespaces: a test with a fleet runs alone.
type fleet struct {
	*testing.T

	host *host
	name string
}

// newFleet makes a cluster and an image for machines on a host. They go with the test.
func newFleet(t *testing.T, h *host) *fleet {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "fleet-"}}
	if err := shared.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	f := &fleet{T: t, host: h, name: namespace.Name}
	cluster := builder.Cluster()
	cluster.Namespace = f.name
	f.create(cluster)
	before := cluster.DeepCopy()
	cluster.Status.Initialization.InfrastructureProvisioned = new(true)
	if err := shared.client.Status().Patch(t.Context(), cluster, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	image := builder.NodeImage(f.name, h.artefact, func(i *ingotv1.NodeImage) { i.Spec.Firmware = []ingotv1.Firmware{ingotv1.FirmwareBIOS} })
	f.create(image)
	f.create(builder.BootstrapData(f.name, func(s *corev1.Secret) { s.Namespace = f.name }))
	var playing sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	playing.Go(func() { f.playAddresses(ctx) })
	t.Cleanup(func() {
		cancel()
		playing.Wait()
		if err := shared.client.Delete(context.WithoutCancel(ctx), image); err != nil {
			t.Error(err)
		}
	})
	return f
}

// endpoint makes an endpoint. It is called like the fleet with a suffix.
func (f *fleet) endpoint(suffix, uri string) *ingotv1.PlatformEndpoint {
	f.Helper()
	endpoint := builder.PlatformEndpoint(f.name+suffix, func(e *ingotv1.PlatformEndpoint) {
		e.Spec.Libvirt = ingotv1.LibvirtEndpoint{URI: uri, Acceleration: ingotv1.AccelerationEmulated}
	})
	f.create(endpoint)
	return endpoint
}

// machines makes machines on an endpoint.
func (f *fleet) machines(n int, endpoint *ingotv1.PlatformEndpoint) {
	f.Helper()
	for i := range n {
		owner := builder.Machine(fmt.Sprintf("%s-%02d", endpoint.Name, i), func(m *clusterv1.Machine) {
			m.Namespace = f.name
			m.Spec.Bootstrap.DataSecretName = &f.name
		})
		f.create(owner)
		infra := builder.IngotMachine(owner, f.name, endpoint.Name, f.shape)
		infra.Namespace = f.name
		f.create(infra)
	}
}

func (f *fleet) shape(m *infrav1.IngotMachine) {
	m.Spec.Firmware = ingotv1.FirmwareBIOS
	m.Spec.Resources = infrav1.MachineResources{CPUs: 1, Memory: resource.MustParse("256Mi")}
	m.Spec.RootDisk.Size = new(resource.MustParse("8Mi")) // a BIOS boots no disk without a whole cylinder
	m.Spec.Disks = []infrav1.MachineDisk{{Name: "data", Size: resource.MustParse("8Mi")}}
	m.Spec.Networks = []infrav1.MachineNetwork{{
		Name:               f.host.libvirt.Network,
		AddressesFromPools: []infrav1.AddressPoolReference{{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: "pool"}},
	}}
	m.Spec.Platform.Libvirt.StoragePool = f.host.libvirt.Pool
}

func (f *fleet) create(object client.Object) {
	f.Helper()
	if err := shared.client.Create(f.Context(), object); err != nil {
		f.Fatalf("creating %T: %v", object, err)
	}
}

// startManager runs the infrastructure role as a release runs it, and returns what ends it.
func (f *fleet) startManager() (halt func()) {
	f.Helper()
	stop, err := managers.Start(f.Context(), shared.config, func(ctx context.Context) session.Opener { return registry.Opener(ctx, logr.Discard()) })
	if err != nil {
		f.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := stop(); err != nil {
			f.Errorf("the manager ended: %v", err)
		}
	})
}

// playAddresses is the provider of addresses, until the context ends.
func (f *fleet) playAddresses(ctx context.Context) {
	given := map[string]netip.Addr{}
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		claims := &ipamv1.IPAddressClaimList{}
		if err := shared.client.List(ctx, claims, client.InNamespace(f.name)); err != nil {
			continue // the context ends, or the next round sees it
		}
		for i := range claims.Items {
			claim := &claims.Items[i]
			if claim.Status.AddressRef.Name != "" || !claim.DeletionTimestamp.IsZero() {
				continue
			}
			if _, has := given[claim.Name]; !has {
				given[claim.Name] = f.host.lend(f.T)
			}
			if err := f.answer(ctx, claim, given[claim.Name]); err != nil && ctx.Err() == nil {
				f.Errorf("answering claim %s: %v", claim.Name, err)
			}
		}
	}
}

func (f *fleet) answer(ctx context.Context, claim *ipamv1.IPAddressClaim, ip netip.Addr) error {
	address := &ipamv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.name, Name: claim.Name,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(claim, ipamv1.GroupVersion.WithKind("IPAddressClaim"))},
		},
		Spec: ipamv1.IPAddressSpec{
			ClaimRef: ipamv1.IPAddressClaimReference{Name: claim.Name}, PoolRef: claim.Spec.PoolRef,
			Address: ip.String(), Prefix: new(int32(f.host.libvirt.Subnet.Bits())), Gateway: f.host.libvirt.Gateway.String(),
		},
	}
	if err := client.IgnoreAlreadyExists(shared.client.Create(ctx, address)); err != nil {
		return err
	}
	before := claim.DeepCopy()
	claim.Status.AddressRef.Name = address.Name
	return shared.client.Status().Patch(ctx, claim, client.MergeFrom(before))
}

// all are the machines on an endpoint.
func (f *fleet) all(endpoint *ingotv1.PlatformEndpoint) []infrav1.IngotMachine {
	f.Helper()
	list := &infrav1.IngotMachineList{}
	if err := shared.client.List(f.Context(), list, client.InNamespace(f.name)); err != nil {
		f.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(m infrav1.IngotMachine) bool { return m.Spec.Platform.Libvirt.EndpointName != endpoint.Name })
}

// provisioned is how many machines on an endpoint are provisioned.
func (f *fleet) provisioned(endpoint *ingotv1.PlatformEndpoint) (n int) {
	f.Helper()
	for _, m := range f.all(endpoint) {
		if told := m.Status.Initialization.Provisioned; told != nil && *told {
			n++
		}
	}
	return n
}

// eventually waits until something is so, and returns how long it took.
func (f *fleet) eventually(what string, patience time.Duration, is func() bool) time.Duration {
	f.Helper()
	begin := time.Now()
	for ; !is(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			f.Fatalf("waited %s in vain until %s:\n%s", patience, what, f.describe())
		}
	}
	return time.Since(begin)
}

// describe says how every machine and endpoint is.
func (f *fleet) describe() string {
	var out strings.Builder
	machines, endpoints := &infrav1.IngotMachineList{}, &ingotv1.PlatformEndpointList{}
	_ = shared.client.List(f.Context(), machines, client.InNamespace(f.name))
	for _, m := range machines.Items {
		fmt.Fprintf(&out, "IngotMachine %s: %s\n", m.Name, inWords(&m, infrav1.ReadyCondition, infrav1.DeletingCondition))
	}
	_ = shared.client.List(f.Context(), endpoints)
	for _, e := range endpoints.Items {
		fmt.Fprintf(&out, "PlatformEndpoint %s: %s\n", e.Name, inWords(&e, ingotv1.PlatformEndpointReadyCondition))
	}
	return out.String() + f.host.describe()
}

// inWords says what some conditions of an object say.
func inWords(object conditions.Getter, types ...string) string {
	var words []string
	for _, t := range types {
		if c := conditions.Get(object, t); c != nil {
			words = append(words, fmt.Sprintf("%s %s %s (%s)", t, c.Status, c.Reason, c.Message))
		}
	}
	return strings.Join(words, ", ")
}

// boots is how often the guest of a machine has booted, by its own word.
func (f *fleet) boots(m *infrav1.IngotMachine) int {
	f.Helper()
	uuid := strings.TrimPrefix(m.Spec.ProviderID, "ingot://")
	logs, err := filepath.Glob(filepath.Join(f.host.libvirt.PoolPath, "ingot-"+uuid+"-*-console.log"))
	if err != nil || len(logs) != 1 {
		f.Errorf("%s has %d console logs (%v)", m.Name, len(logs), err)
		return 0
	}
	console, err := os.ReadFile(logs[0])
	if err != nil {
		f.Error(err)
	}
	return bytes.Count(console, []byte(greeting))
}

// expectEachOnce checks that each machine on an endpoint has one domain, which runs, and whose guest has booted once; and
// that nothing else is on the host.
func (f *fleet) expectEachOnce(endpoint *ingotv1.PlatformEndpoint) {
	f.Helper()
	machines := f.all(endpoint)
	for i := range machines {
		m := &machines[i]
		domains := f.host.domains(f.T, m.Name+"-")
		if len(domains) != 1 || !domains[0].runs || domains[0].uuid != strings.TrimPrefix(m.Spec.ProviderID, "ingot://") {
			f.Errorf("%s has the domains %v", m.Name, domains)
		}
		f.eventually("the guest of "+m.Name+" has booted", time.Minute, func() bool { return f.boots(m) > 0 })
		if n := f.boots(m); n != 1 {
			f.Errorf("the guest of %s has booted %d times; QEMU was started %d times", m.Name, n, f.host.starts(f.T, m.Name+"-"))
		}
	}
	if n := len(f.host.domains(f.T, "")); n != len(machines) {
		f.Errorf("there are %d domains for %d machines", n, len(machines))
	}
	// Root disk, data disk, bootstrap data and console log each; a copy of the image and its seal.
	if left := files(f.T, f.host.libvirt.PoolPath); len(left) != 4*len(machines)+2 {
		f.Errorf("%d files are in the pool of %d machines: %v", len(left), len(machines), left)
	}
}

// deleteAll deletes all machines, and then the endpoints, and waits until they are gone.
func (f *fleet) deleteAll(endpoints ...*ingotv1.PlatformEndpoint) time.Duration {
	f.Helper()
	begin := time.Now()
	f.deleteMachines()
	for _, endpoint := range endpoints {
		f.eventually("the machines are gone", patience, func() bool { return len(f.all(endpoint)) == 0 })
	}
	took := time.Since(begin)
	for _, endpoint := range endpoints {
		if err := shared.client.Delete(f.Context(), endpoint); err != nil {
			f.Fatal(err)
		}
		f.eventually("the endpoint is gone", patience, func() bool {
			return apierrors.IsNotFound(shared.client.Get(f.Context(), client.ObjectKeyFromObject(endpoint), endpoint))
		})
	}
	return took
}

// deleteMachines deletes all machines and does not wait.
func (f *fleet) deleteMachines() {
	f.Helper()
	if err := shared.client.DeleteAllOf(f.Context(), &infrav1.IngotMachine{}, client.InNamespace(f.name)); err != nil {
		f.Fatal(err)
	}
}

// expectEmptyHost checks that nothing at all is left on the host.
func (f *fleet) expectEmptyHost() {
	f.Helper()
	if left := f.host.domains(f.T, ""); len(left) > 0 {
		f.Errorf("domains are left: %v", left)
	}
	if left := files(f.T, f.host.libvirt.PoolPath); len(left) > 0 {
		f.Errorf("left in the pool: %v", left)
	}
	if left := f.host.reserved(f.T); len(left) > 0 {
		f.Errorf("addresses are still reserved: %v", left)
	}
	// A libvirtd that was killed forgets the directories of a domain that it was starting, and nobody else can remove them.
	forgotten := regexp.MustCompile(`^/var/lib/libvirt/qemu/(channel/target/)?domain-\d+-[^/]*$`)
	left := slices.DeleteFunc(f.host.named(f.T, f.name), forgotten.MatchString)
	if len(left) > 0 {
		f.Errorf("files are left: %v", left)
	}
}
