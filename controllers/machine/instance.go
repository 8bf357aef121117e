// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// shortWait is how soon something that should be there in seconds is looked at again.
	shortWait = 3 * time.Second
	// toldWait is the same for what an event tells: the safety net for one that was lost.
	toldWait = time.Minute
	// unreachableWait is how soon an endpoint that did not answer is asked again; an event comes earlier when it is back.
	unreachableWait = 30 * time.Second
	// defaultCreatesInFlight is how many instances an endpoint makes at once unless it says otherwise.
	defaultCreatesInFlight = 8
)

// instance makes the instance run, or looks at the one that does. An instance that Cluster API was told of is only ever
// looked at: a lost one is lost, and its owner replaces the machine.
func (r *Reconciler) instance(ctx context.Context, w *world) flow.Outcome {
	if w.wasProvisioned() {
		tellProvisioned(w)
	}
	if w.endpoint == nil {
		return flow.Stall(infrav1.EndpointNotFoundReason, fmt.Sprintf("PlatformEndpoint %s does not exist: create it", w.endpointName())).Unknown()
	}
	seen, err := r.look(ctx, w)
	if err == nil && seen.Existence == platform.Exists && !seen.Started && w.bundle != nil {
		r.inHand.keep(w)
	} else {
		r.inHand.drop(w.key())
	}
	if err != nil {
		return r.instanceFailed(w, err)
	}
	w.observed = &seen
	if seen.Started || w.started() {
		w.infra.Status.Power = powerState(seen.Power)
	}
	if addresses := machineAddresses(w.infra.Name, seen.Addresses); len(addresses) > 0 {
		w.infra.Status.Addresses = addresses
	}
	outcome := r.judgeInstance(w, seen)
	if outcome.Reason() == infrav1.InstanceWaitingForAddressReason && !w.machine.Status.NodeRef.IsDefined() {
		outcome = r.overdue(ctx, w, infrav1.InstanceReadyCondition, outcome)
	}
	if !inTheMaking(outcome) {
		r.budget().leave(w.key())
	}
	if outcome.Done() && !w.wasProvisioned() {
		r.Recorder.Eventf(w.infra, nil, corev1.EventTypeNormal, "InstanceProvisioned", "EnsureInstance",
			"instance runs with address %s", seen.Addresses[0])
		tellProvisioned(w)
	}
	return outcome
}

// tellProvisioned tells Cluster API that the instance is there. It is told once, and again after a move to another
// management cluster, which drops the status.
func tellProvisioned(w *world) {
	w.infra.Status.Initialization.Provisioned = new(true)
	w.infra.Status.FailureDomain = w.machine.Spec.FailureDomain
	if placed := w.infra.Spec.Placement.FailureDomain; placed != "" {
		w.infra.Status.FailureDomain = placed
	}
}

// turn waits until the endpoint has a place for one more instance in the making. What runs takes its place unasked.
func (r *Reconciler) turn(_ context.Context, w *world) flow.Outcome {
	switch {
	case w.wasProvisioned():
		return flow.Advance(infrav1.InstanceCreatingReason, "")
	case w.started() || w.observed != nil && w.observed.Started:
		r.budget().occupy(w.endpointName(), w.key())
		return flow.Advance(infrav1.InstanceCreatingReason, "")
	case w.endpoint == nil:
		return flow.Stall(infrav1.EndpointNotFoundReason, fmt.Sprintf("PlatformEndpoint %s does not exist: create it", w.endpointName())).Unknown()
	}
	granted, waited := r.budget().enter(w.endpointName(), w.key(), createsInFlight(w.endpoint), util.IsControlPlaneMachine(w.machine))
	if granted {
		return flow.Advance(infrav1.InstanceCreatingReason, "")
	}
	wait := patience
	if w.silent = waited < patience; w.silent {
		wait -= waited
	}
	return flow.Wait(infrav1.InstanceQueuedReason, queued(w), wait)
}

// patience is how long a machine waits for its turn before it says so, and then for its instance to be made where an event tells
// when it is through. Most need less, and each write is paid once for every machine.
const patience = 30 * time.Second

// look ensures an instance that does not run yet, and only observes one that does.
func (r *Reconciler) look(ctx context.Context, w *world) (platform.Observation, error) {
	if w.wasProvisioned() || w.started() || w.observed != nil && w.observed.Started {
		return r.observe(ctx, w)
	}
	return r.ensure(ctx, w)
}

// queued says what the machine waits for.
func queued(w *world) string {
	return fmt.Sprintf("PlatformEndpoint %s makes %d instances at once (spec.budget.createsInFlight); the machine waits for its turn",
		w.endpointName(), createsInFlight(w.endpoint))
}

func createsInFlight(e *ingotv1.PlatformEndpoint) int {
	return int(ptr.Deref(e.Spec.Budget.CreatesInFlight, defaultCreatesInFlight))
}

// ensure makes the instance.
func (r *Reconciler) ensure(ctx context.Context, w *world) (platform.Observation, error) {
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return platform.Observation{}, err
	}
	if w.bundle == nil {
		return platform.Observation{}, errors.New("an instance is to be made and its bootstrap data was not read")
	}
	bootstrap, err := r.bootstrapRequest(w)
	if err != nil {
		return platform.Observation{}, err
	}
	request, err := w.request(bootstrap)
	if err != nil {
		return platform.Observation{}, err
	}
	return p.Ensure(ctx, request)
}

// request is what the spec asks of the platform.
func (w *world) request(bootstrap platform.Bootstrap) (platform.Request, error) {
	spec, place := w.infra.Spec, inventory.PlaceOf(w.infra.Spec)
	request := platform.Request{
		Identity:       w.identity(),
		Name:           w.infra.Name,
		ImageSHA256:    spec.PinnedImage.SHA256,
		CPUs:           spec.Resources.CPUs,
		MemoryBytes:    spec.Resources.Memory.Value(),
		Firmware:       platform.Firmware(spec.Firmware),
		SecureBoot:     ptr.Deref(spec.TrustedBoot.SecureBoot, false),
		VirtualTPM:     ptr.Deref(spec.TrustedBoot.VirtualTPM, false),
		DedicatedCPUs:  spec.Resources.CPUPolicy == infrav1.CPUPolicyDedicated,
		SingleNUMANode: spec.Resources.NUMAPolicy == infrav1.NUMAPolicySingle,
		Bootstrap:      bootstrap,
		FullClone:      spec.Platform.VSphere.CloneMode == infrav1.CloneModeFull,
		Folder:         spec.Platform.VSphere.Folder,
		ResourcePool:   place.ResourcePool,
		Group:          w.group(),
	}
	w.askOfVSphere(&request)
	if size := spec.RootDisk.Size; size != nil {
		request.RootDiskBytes = size.Value()
	}
	if pages := spec.Resources.HugePages; pages != "" {
		size, err := resource.ParseQuantity(string(pages))
		if err != nil {
			return platform.Request{}, fmt.Errorf("%w: spec.resources.hugePages: %w", platform.ErrInvalid, err)
		}
		request.HugePageBytes = size.Value()
	}
	for _, disk := range spec.Disks {
		request.Disks = append(request.Disks, platform.Disk{Name: disk.Name, Bytes: disk.Size.Value()})
	}
	for i, network := range spec.Networks {
		nic := platform.Interface{Network: place.Networks[i], MTU: network.MTU}
		if i < len(w.addresses) {
			nic.Addresses = w.addresses[i]
		}
		request.Interfaces = append(request.Interfaces, nic)
	}
	for _, device := range slices.Concat(spec.Platform.Libvirt.PCIDevices, spec.Platform.VSphere.PCIDevices) {
		request.PCIDevices = append(request.PCIDevices, platform.PCIDevice{VendorID: device.VendorID, DeviceID: device.DeviceID, Count: max(device.Count, 1)})
	}
	return request, nil
}

// inTheMaking is whether the instance still takes part of the endpoint's budget.
func inTheMaking(outcome flow.Outcome) bool {
	return !outcome.Done() && (outcome.Reason() == infrav1.InstanceCreatingReason || outcome.Reason() == infrav1.InstanceWaitingForAddressReason)
}

// judgeInstance says what an observation means for the machine.
func (r *Reconciler) judgeInstance(w *world, seen platform.Observation) flow.Outcome {
	console := ""
	if seen.ConsoleLog != "" {
		console = "; its console log is " + seen.ConsoleLog + " on the endpoint"
	}
	switch {
	case seen.Existence == platform.Unknown:
		return flow.Wait(infrav1.EndpointUnavailableReason, "the platform could not tell: "+seen.Detail, unreachableWait).Unknown()
	case !seen.Started && (w.wasProvisioned() || w.started()):
		message := "the instance is not on the endpoint any more" + remains(seen) + "; it is never made a second time. Delete the Machine to have it replaced"
		r.warnOnce(w, infrav1.InstanceReadyCondition, infrav1.InstanceGoneReason, "ObserveInstance", message)
		return flow.Stall(infrav1.InstanceGoneReason, message)
	case seen.Started && seen.Power == platform.PowerOff:
		message := "the instance stopped and is not started again" + console + ". Delete the Machine to have it replaced"
		r.warnOnce(w, infrav1.InstanceReadyCondition, infrav1.InstanceStoppedReason, "ObserveInstance", message)
		return flow.Wait(infrav1.InstanceStoppedReason, message, unreachableWait)
	case seen.Power != platform.PowerOn:
		return r.creating(w, seen)
	case len(seen.Addresses) == 0 && !w.wasProvisioned():
		return flow.Wait(infrav1.InstanceWaitingForAddressReason, "the instance runs and has no address yet"+console, lookAgain(seen))
	default:
		return flow.Advance(infrav1.InstanceRunningReason, "")
	}
}

// creating waits until an instance is made.
func (r *Reconciler) creating(w *world, seen platform.Observation) flow.Outcome {
	wait := lookAgain(seen)
	if took := r.budget().making(w.endpointName(), w.key()); seen.UntilEvent && took < patience {
		w.silent = true
		wait = patience - took
	}
	return flow.Wait(infrav1.InstanceCreatingReason, seen.Detail, wait)
}

// lookAgain is how soon an instance in the making is looked at again.
func lookAgain(seen platform.Observation) time.Duration {
	if seen.UntilEvent {
		return toldWait
	}
	return shortWait
}

// remains says what is left of an instance that was lost.
func remains(seen platform.Observation) string {
	if seen.Existence == platform.Absent || seen.Detail == "" {
		return ""
	}
	return " (" + seen.Detail + ")"
}

// instanceFailed translates the platform's errors. What could not be told leaves everything as it was last seen.
func (r *Reconciler) instanceFailed(w *world, err error) flow.Outcome {
	r.budget().leave(w.key())
	switch {
	case errors.Is(err, platform.ErrUnreachable):
		if w.started() {
			w.infra.Status.Power = infrav1.PowerStateUnknown
		}
		return flow.Wait(unreachable(err), err.Error(), unreachableWait).Unknown()
	case errors.Is(err, platform.ErrForeign):
		r.warnOnce(w, infrav1.InstanceReadyCondition, infrav1.InstanceForeignReason, "EnsureInstance", err.Error())
		return flow.Stall(infrav1.InstanceForeignReason, err.Error())
	case errors.Is(err, platform.ErrImageNotReady):
		return flow.Wait(infrav1.InstanceCreatingReason, err.Error(), shortWait)
	case errors.Is(err, platform.ErrInvalid), errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrCapacity):
		message := err.Error() + w.domainNote()
		r.warnOnce(w, infrav1.InstanceReadyCondition, infrav1.InstanceRefusedReason, "EnsureInstance", message)
		return flow.Wait(infrav1.InstanceRefusedReason, message, unreachableWait)
	default:
		return flow.Fail(infrav1.InstanceCreatingReason, "", err)
	}
}

// domainNote says, of a machine that was put into a failure domain inside its endpoint, who may have named what is wrong.
func (w *world) domainNote() string {
	placed := w.infra.Spec.Placement
	if w.endpoint != nil && w.endpoint.Spec.FailureDomain != "" {
		return "" // the whole endpoint is one
	}
	return domainNote(placed)
}

func domainNote(placed infrav1.MachinePlacement) string {
	if placed.VSphere.ResourcePool == "" || placed.FailureDomain == "" {
		return ""
	}
	return fmt.Sprintf(" (the failure domain %s of PlatformEndpoint %s, spec.vsphere.failureDomains, may name it in place of the machine)",
		placed.FailureDomain, placed.EndpointName)
}

// unreachable is the reason for an endpoint that could not tell.
func unreachable(err error) string {
	if errors.Is(err, platform.ErrCircuitOpen) {
		return infrav1.EndpointCircuitOpenReason
	}
	return infrav1.EndpointUnavailableReason
}

func powerState(power platform.Power) infrav1.PowerState {
	switch power {
	case platform.PowerOn:
		return infrav1.PowerStateOn
	case platform.PowerOff:
		return infrav1.PowerStateOff
	default:
		return infrav1.PowerStateUnknown
	}
}

// machineAddresses are the host name and the internal addresses, as Cluster API reads them.
func machineAddresses(name string, ips []string) []clusterv1.MachineAddress {
	if len(ips) == 0 {
		return nil
	}
	addresses := []clusterv1.MachineAddress{{Type: clusterv1.MachineHostName, Address: name}}
	for _, ip := range ips {
		if _, err := netip.ParseAddr(ip); err == nil {
			addresses = append(addresses, clusterv1.MachineAddress{Type: clusterv1.MachineInternalIP, Address: ip})
		}
	}
	return addresses
}
