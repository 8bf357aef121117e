// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Static addresses follow the IPAM contract of Cluster API: a claim for each, which a provider answers with an IPAddress.
// A provider takes the address back as soon as the claim is deleted, whatever finalizers the claim has, and some know
// which addresses are taken by the IPAddresses that exist. So both are held until the instance is proved gone.

// +kubebuilder:rbac:groups=ipam.cluster.x-k8s.io,resources=ipaddressclaims,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=ipam.cluster.x-k8s.io,resources=ipaddresses,verbs=get;list;watch;patch

// allocation are the static addresses of a machine, per interface and in the order of its pools. The address phase sets it
// for an instance that is to be made.
type allocation struct {
	addresses [][]platform.Address
}

// slot is one address that the spec asks for.
type slot struct {
	network, index int
	pool           infrav1.AddressPoolReference
	claim          string // the name of its claim
}

// String names the slot for people: the pool, and the field that asks for it.
func (s slot) String() string {
	return fmt.Sprintf("%s %s (spec.networks[%d].addressesFromPools[%d])", s.pool.Kind, s.pool.Name, s.network, s.index)
}

func (s slot) poolRef() ipamv1.IPPoolReference {
	return ipamv1.IPPoolReference{APIGroup: s.pool.APIGroup, Kind: s.pool.Kind, Name: s.pool.Name}
}

// slots are all addresses that the spec asks for.
func (w *world) slots() []slot {
	var slots []slot
	for i, network := range w.infra.Spec.Networks {
		for j, pool := range network.AddressesFromPools {
			slots = append(slots, slot{network: i, index: j, pool: pool, claim: claimName(w.infra.Name, i, j)})
		}
	}
	return slots
}

// needsAddresses is whether any address comes from a pool. Other machines have no address phase.
func (w *world) needsAddresses() bool { return len(w.slots()) > 0 }

// claimName is the same in every pass, so that a crash never claims twice. Of a name that is too long a part goes on as
// its digest.
func claimName(machine string, network, index int) string {
	const (
		longest = 253 - len("-0-0")
		digest  = 10
	)
	if len(machine) > longest {
		sum := sha256.Sum256([]byte(machine))
		machine = strings.TrimRight(machine[:longest-digest-1], "-.") + "-" + hex.EncodeToString(sum[:])[:digest]
	}
	return fmt.Sprintf("%s-%d-%d", machine, network, index)
}

// addressLook is how often pools that gave no address are looked at; an event comes earlier.
const addressLook = 30 * time.Second

// addresses claims the static addresses and waits for them. Of an instance that was started the claims are only looked at:
// it has its addresses, and nobody can give it others.
func (r *Reconciler) addresses(ctx context.Context, w *world) flow.Outcome {
	slots := w.slots()
	if w.wasProvisioned() || w.started() {
		return flow.Advance(infrav1.AddressesClaimedReason, r.lostClaims(ctx, w, slots))
	}
	claims := make([]*ipamv1.IPAddressClaim, len(slots))
	for n, s := range slots { // all claims first: their providers work at the same time
		var ends *flow.Outcome
		if claims[n], ends = r.ensureClaim(ctx, w, s); ends != nil {
			return *ends
		}
	}
	w.addresses = make([][]platform.Address, len(w.infra.Spec.Networks))
	taken := map[netip.Addr]slot{}
	var waiting []string
	for n, s := range slots {
		address, waits, ends := r.allocated(ctx, w, s, claims[n])
		switch {
		case ends != nil:
			return *ends
		case waits != "":
			waiting = append(waiting, waits)
			continue
		}
		ip := address.Prefix.Addr()
		if other, twice := taken[ip]; twice {
			return *r.refuseAddress(w, infrav1.AddressInvalidReason, "%s gave %s, which %s gave already: %s", s, ip, other, correctPool)
		}
		taken[ip] = s
		w.addresses[s.network] = append(w.addresses[s.network], address)
	}
	if len(waiting) > 0 {
		return flow.Wait(infrav1.WaitingForAddressesReason, strings.Join(waiting, "; "), addressLook)
	}
	return flow.Advance(infrav1.AddressesClaimedReason, "")
}

// correctPool is what there is to do about an address that cannot be used. A claim keeps the address that it got.
const correctPool = "correct the pool, then delete the Machine to have it replaced"

// refuseAddress ends the phase until somebody changes something.
func (r *Reconciler) refuseAddress(w *world, reason, format string, args ...any) *flow.Outcome {
	message := fmt.Sprintf(format, args...)
	r.warnOnce(w, infrav1.AddressesClaimedCondition, reason, "ClaimAddresses", message)
	outcome := flow.Stall(reason, message)
	return &outcome
}

func failed(what string, err error) *flow.Outcome {
	outcome := flow.Fail(infrav1.WaitingForAddressesReason, what, err)
	return &outcome
}

// ensureClaim returns the claim of a slot, and makes it if there is none.
func (r *Reconciler) ensureClaim(ctx context.Context, w *world, s slot) (*ipamv1.IPAddressClaim, *flow.Outcome) {
	claim := &ipamv1.IPAddressClaim{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.infra.Namespace, Name: s.claim}, claim)
	switch {
	case apierrors.IsNotFound(err):
		return r.createClaim(ctx, w, s)
	case err != nil:
		return nil, failed("IPAddressClaims cannot be read", err)
	case !metav1.IsControlledBy(claim, w.infra):
		return nil, r.refuseAddress(w, infrav1.AddressClaimForeignReason,
			"IPAddressClaim %s belongs to %s, not to this machine, and is in the way of %s: delete it when nothing uses its address any more", s.claim, ownerOf(claim), s)
	case claim.Spec.PoolRef != s.poolRef():
		return nil, r.refuseAddress(w, infrav1.AddressClaimForeignReason,
			"IPAddressClaim %s claims from %s %s, and is in the way of %s: delete the Machine to have it replaced", s.claim, claim.Spec.PoolRef.Kind, claim.Spec.PoolRef.Name, s)
	case !claim.DeletionTimestamp.IsZero():
		return nil, r.refuseAddress(w, infrav1.AddressClaimDeletedReason, deletedClaim, s.claim)
	}
	if err := r.hold(ctx, w, claim); err != nil {
		return nil, failed("IPAddressClaims cannot be written", err)
	}
	return claim, nil
}

// ownerOf names who has a claim.
func ownerOf(claim *ipamv1.IPAddressClaim) string {
	owner := metav1.GetControllerOf(claim)
	switch {
	case owner == nil:
		return "nobody"
	case controllerutil.ContainsFinalizer(claim, infrav1.AddressFinalizer):
		return fmt.Sprintf("%s %s of UID %s, for which finalizer %s holds it", owner.Kind, owner.Name, owner.UID, infrav1.AddressFinalizer)
	default:
		return owner.Kind + " " + owner.Name
	}
}

// deletedClaim says what became of a claim that somebody deleted.
const deletedClaim = "IPAddressClaim %s was deleted and is held until the machine is gone; its pool may give the address to another machine before. " +
	"Delete the Machine to have it replaced"

// createClaim makes the claim of a slot with everything that keeps it, in one write.
func (r *Reconciler) createClaim(ctx context.Context, w *world, s slot) (*ipamv1.IPAddressClaim, *flow.Outcome) {
	if !w.machine.DeletionTimestamp.IsZero() {
		return nil, noMoreClaims("the Machine", s)
	}
	claim := &ipamv1.IPAddressClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       w.infra.Namespace,
			Name:            s.claim,
			Labels:          map[string]string{clusterv1.ClusterNameLabel: w.cluster.Name},
			Finalizers:      []string{infrav1.AddressFinalizer},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(w.infra, infrav1.GroupVersion.WithKind("IngotMachine"))},
		},
		Spec: ipamv1.IPAddressClaimSpec{ClusterName: w.cluster.Name, PoolRef: s.poolRef()},
	}
	if filter, has := w.infra.Labels[clusterv1.WatchLabel]; has {
		claim.Labels[clusterv1.WatchLabel] = filter // whoever watches a part of all objects must see this one
	}
	err := r.Client.Create(ctx, claim)
	switch {
	case err == nil:
		return claim, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, noMoreClaims("namespace "+w.infra.Namespace, s)
	case apierrors.IsAlreadyExists(err): // our own, which the cache does not show yet, or somebody's
		outcome := flow.Wait(infrav1.WaitingForAddressesReason, fmt.Sprintf("no address from %s yet", s), shortWait)
		return nil, &outcome
	default:
		return nil, failed("IPAddressClaims cannot be made", err)
	}
}

// noMoreClaims ends the phase for good: whoever is deleted gets nothing new.
func noMoreClaims(who string, s slot) *flow.Outcome {
	outcome := flow.Stall(infrav1.WaitingForAddressesReason, fmt.Sprintf("%s is being deleted: no address is claimed from %s any more", who, s))
	return &outcome
}

// allocated returns the address that a claim got, or what is waited for.
func (r *Reconciler) allocated(ctx context.Context, w *world, s slot, claim *ipamv1.IPAddressClaim) (platform.Address, string, *flow.Outcome) {
	var none platform.Address
	name := claim.Status.AddressRef.Name
	if name == "" {
		return none, notYet(s, claim), nil
	}
	object := &ipamv1.IPAddress{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.infra.Namespace, Name: name}, object)
	switch {
	case apierrors.IsNotFound(err):
		return none, fmt.Sprintf("IPAddress %s, which %s gave, is not there", name, s), nil
	case err != nil:
		return none, "", failed("IPAddresses cannot be read", err)
	case object.Spec.ClaimRef.Name != s.claim:
		return none, "", r.refuseAddress(w, infrav1.AddressInvalidReason, "IPAddress %s, which %s gave, has spec.claimRef.name %s and not %s: %s",
			name, s, object.Spec.ClaimRef.Name, s.claim, correctPool)
	case !object.DeletionTimestamp.IsZero():
		return none, "", r.refuseAddress(w, infrav1.AddressInvalidReason, "IPAddress %s, which %s gave, is being deleted: delete the Machine to have it replaced", name, s)
	}
	address, err := parseAddress(object.Spec)
	if err != nil {
		return none, "", r.refuseAddress(w, infrav1.AddressInvalidReason, "IPAddress %s, which %s gave: %s: %s", name, s, err, correctPool)
	}
	if err := r.hold(ctx, w, object); err != nil {
		return none, "", failed("IPAddresses cannot be written", err)
	}
	return address, "", nil
}

// notYet says what a pool that gave no address says about it.
func notYet(s slot, claim *ipamv1.IPAddressClaim) string {
	ready := conditions.Get(claim, ipamv1.IPAddressClaimReadyCondition)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return fmt.Sprintf("no address from %s yet", s)
	}
	return fmt.Sprintf("no address from %s yet: %s", s, strings.TrimSuffix(ready.Reason+": "+ready.Message, ": "))
}

// parseAddress reads an address strictly: what is not the address of one machine would be found out by a guest that never
// answers.
func parseAddress(spec ipamv1.IPAddressSpec) (platform.Address, error) {
	var none platform.Address
	ip, err := netip.ParseAddr(spec.Address)
	if err != nil || ip.Zone() != "" || ip.Is4In6() || !ip.IsGlobalUnicast() {
		return none, fmt.Errorf("spec.address %q is not the IP address of one machine", spec.Address)
	}
	if spec.Prefix == nil || *spec.Prefix < 1 || int(*spec.Prefix) > ip.BitLen() {
		length := "nothing"
		if spec.Prefix != nil {
			length = fmt.Sprint(*spec.Prefix)
		}
		return none, fmt.Errorf("spec.prefix is %s, and must be between 1 and %d", length, ip.BitLen())
	}
	address := platform.Address{Prefix: netip.PrefixFrom(ip, int(*spec.Prefix))}
	if spec.Gateway == "" {
		return address, nil
	}
	gateway, err := netip.ParseAddr(spec.Gateway)
	if err != nil || gateway == ip || !address.Prefix.Contains(gateway) {
		return none, fmt.Errorf("spec.gateway %q is not another machine in %s", spec.Gateway, address.Prefix.Masked())
	}
	address.Gateway = gateway
	return address, nil
}

// hold puts our finalizer on a claim or an address. The list is replaced as a whole, so that nobody's finalizer may be
// overlooked. What was held once is known by the condition: the cache may not show it yet.
func (r *Reconciler) hold(ctx context.Context, w *world, object client.Object) error {
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok || conditions.IsTrue(w.found, infrav1.AddressesClaimedCondition) || !controllerutil.AddFinalizer(object, infrav1.AddressFinalizer) {
		return nil
	}
	return r.Client.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// lostClaims says which addresses of a started instance are not safe any more, because somebody deleted their claims.
func (r *Reconciler) lostClaims(ctx context.Context, w *world, slots []slot) string {
	var lost []string
	for _, s := range slots {
		claim := &ipamv1.IPAddressClaim{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.infra.Namespace, Name: s.claim}, claim)
		switch {
		case apierrors.IsNotFound(err):
			lost = append(lost, fmt.Sprintf("IPAddressClaim %s is gone, and its pool may give the address to another machine. Delete the Machine to have it replaced", s.claim))
		case err != nil:
			return conditions.GetMessage(w.infra, infrav1.AddressesClaimedCondition) // what was last known
		case !claim.DeletionTimestamp.IsZero():
			lost = append(lost, fmt.Sprintf(deletedClaim, s.claim))
		}
	}
	return strings.Join(lost, "; ")
}

// releaseAddresses gives the addresses of a machine back. It may be called only after the instance was proved gone, and
// again at any time.
func (r *Reconciler) releaseAddresses(ctx context.Context, w *world) error {
	for _, s := range w.slots() {
		if err := r.releaseAddress(ctx, w, s); err != nil {
			return fmt.Errorf("giving back the address from %s: %w", s, err)
		}
	}
	return nil
}

// releaseAddress lets go of the address, then of the claim, and then deletes the claim.
func (r *Reconciler) releaseAddress(ctx context.Context, w *world, s slot) error {
	claim := &ipamv1.IPAddressClaim{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.infra.Namespace, Name: s.claim}, claim)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	exists := err == nil
	if exists && !mayRelease(claim, w.infra) {
		return nil
	}
	names := []string{s.claim} // which the contract asks of an address whose claim is gone
	if other := claim.Status.AddressRef.Name; other != "" && other != s.claim {
		names = append(names, other)
	}
	for _, name := range names {
		object := &ipamv1.IPAddress{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.infra.Namespace, Name: name}, object)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err != nil || object.Spec.ClaimRef.Name != s.claim {
			continue
		}
		if err := r.letAddressGo(ctx, object); err != nil {
			return err
		}
	}
	if !exists {
		return nil
	}
	if err := r.letAddressGo(ctx, claim); err != nil {
		return err
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, claim, client.Preconditions{UID: &claim.UID}))
}

// mayRelease is whether a claim is the machine's: it is owned by it, or it lost its owner and kept our finalizer.
func mayRelease(claim *ipamv1.IPAddressClaim, infra *infrav1.IngotMachine) bool {
	if owner := metav1.GetControllerOf(claim); owner != nil {
		return owner.UID == infra.UID
	}
	return controllerutil.ContainsFinalizer(claim, infrav1.AddressFinalizer)
}

// letAddressGo takes our finalizer off a claim or an address.
func (r *Reconciler) letAddressGo(ctx context.Context, object client.Object) error {
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok || !controllerutil.RemoveFinalizer(object, infrav1.AddressFinalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}
