// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A guest that hangs at its first boot is helped by what a person would do first: the machine is switched off and on. That is
// done once. So it is written down on the machine which half is at hand before it is done, with the optimistic lock of all
// records: whoever comes after a crash goes on with that half, and a half that is done already does nothing. That the Node has
// joined is written down too: a status says it, which does not survive a move, and then every machine of a cluster would be late.

// bootRecord is what the annotation of a machine says of its boot.
type bootRecord struct {
	// Since is since when the machine boots: when it was first seen to run, or to run again.
	Since metav1.Time `json:"since"`
	// PowerCycle is how far the power cycle is; empty where there was none.
	PowerCycle powerCycle `json:"powerCycle,omitempty"`
	// Joined is whether the Node has joined. From then on nothing is switched any more.
	Joined bool `json:"joined,omitempty"`
}

// powerCycle is how far a power cycle is.
type powerCycle string

const (
	// cycleOff means that the instance is to be switched off.
	cycleOff powerCycle = "SwitchingOff"
	// cycleOn means that it was off, and is to be switched on.
	cycleOn powerCycle = "SwitchingOn"
	// cycleDone means that it was, and that there is no other.
	cycleDone powerCycle = "Done"
)

// boot is zero where nothing was written down, or where nobody can read it.
func (w *world) boot() bootRecord {
	var record bootRecord
	_ = json.Unmarshal([]byte(w.infra.Annotations[infrav1.BootAnnotation]), &record)
	return record
}

// bootTimeout is how long the machine may take to boot; 0 means that nobody waits for it.
func (w *world) bootTimeout() time.Duration {
	return time.Duration(ptr.Deref(w.infra.Spec.BootTimeoutSeconds, 0)) * time.Second
}

// writeBoot writes down how far the boot is.
func (r *Reconciler) writeBoot(ctx context.Context, w *world, record bootRecord) error {
	content, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("writing down how far the boot is: %w", err)
	}
	metav1.SetMetaDataAnnotation(&w.infra.ObjectMeta, infrav1.BootAnnotation, string(content))
	return r.patchRecord(ctx, w)
}

// overdue judges a machine whose instance runs and whose Node has not joined, which is what waiting says in a condition. Where it
// has had its time, a power cycle is written down, and the next pass does it.
func (r *Reconciler) overdue(ctx context.Context, w *world, condition string, waiting flow.Outcome) flow.Outcome {
	limit, record := w.bootTimeout(), w.boot()
	now := r.Clock.Now()
	switch {
	case limit == 0, record.Joined:
		return waiting
	case record.Since.IsZero():
		record.Since = metav1.NewTime(now)
		if err := r.writeBoot(ctx, w, record); err != nil {
			return flow.Fail(waiting.Reason(), waiting.Message(), err)
		}
		return waiting
	case now.Sub(record.Since.Time) < limit:
		return waiting
	case r.mayHaveJoined(ctx, w):
		return waiting
	case record.PowerCycle == cycleDone:
		return r.timedOut(w, condition, "was switched off and on, and its Node has not joined within another %s", limit)
	}
	if p, err := r.Sessions.Platform(w.endpointName()); err != nil {
		return waiting
	} else if _, can := platform.As[platform.PowerCycler](p); !can {
		return r.timedOut(w, condition, "has not joined within %s, and its platform cannot switch it off and on", limit)
	}
	record.PowerCycle = cycleOff
	if err := r.writeBoot(ctx, w, record); err != nil {
		return flow.Fail(waiting.Reason(), waiting.Message(), err)
	}
	message := fmt.Sprintf("the Node has not joined within %s (spec.bootTimeoutSeconds): the instance is switched off and on, once", limit)
	r.Recorder.Eventf(w.infra, nil, corev1.EventTypeWarning, infrav1.InstancePowerCyclingReason, "PowerCycleInstance", "%s", message)
	return flow.Wait(infrav1.InstancePowerCyclingReason, message, shortWait)
}

// timedOut tells that a machine does not boot.
func (r *Reconciler) timedOut(w *world, condition, what string, limit time.Duration) flow.Outcome {
	message := fmt.Sprintf("the machine "+what+" (spec.bootTimeoutSeconds): look at its console, and delete the Machine to have it replaced", limit)
	r.warnOnce(w, condition, infrav1.BootTimedOutReason, "ObserveInstance", message)
	return flow.Wait(infrav1.BootTimedOutReason, message, joinWait)
}

// joined writes down that the Node has joined, on a machine that is waited for.
func (r *Reconciler) joined(ctx context.Context, w *world) error {
	record := w.boot()
	if record.Joined || record.Since.IsZero() && w.bootTimeout() == 0 {
		return nil
	}
	if record.Since.IsZero() {
		record.Since = metav1.NewTime(r.Clock.Now())
	}
	record.Joined = true
	return r.writeBoot(ctx, w, record)
}

// mayHaveJoined is whether the machine has a Node, or nobody can tell. A workload cluster that was never there has no Nodes.
func (r *Reconciler) mayHaveJoined(ctx context.Context, w *world) bool {
	if w.machine.Status.NodeRef.IsDefined() || w.boot().Joined {
		return true
	}
	workload, err := r.Workload.GetClient(ctx, client.ObjectKeyFromObject(w.cluster))
	nodes := &corev1.NodeList{}
	if err == nil {
		err = workload.List(ctx, nodes, client.UnsafeDisableDeepCopy)
	}
	if err != nil {
		return ptr.Deref(w.cluster.Status.Initialization.ControlPlaneInitialized, false)
	}
	for i := range nodes.Items {
		if nodes.Items[i].Spec.ProviderID == w.infra.Spec.ProviderID || strings.EqualFold(nodes.Items[i].Status.NodeInfo.SystemUUID, w.identity().UUID) {
			return true
		}
	}
	return false
}

// powerCycle goes on with a power cycle that was written down, and lets everything else pass.
func (r *Reconciler) powerCycle(ctx context.Context, w *world) flow.Outcome {
	record := w.boot()
	if record.PowerCycle != cycleOff && record.PowerCycle != cycleOn || w.endpoint == nil {
		return flow.Advance(infrav1.InstancePowerCyclingReason, "")
	}
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return r.instanceFailed(w, err)
	}
	cycler, can := platform.As[platform.PowerCycler](p)
	if !can {
		return flow.Advance(infrav1.InstancePowerCyclingReason, "")
	}
	if current, err := r.isCurrent(ctx, w); err != nil {
		return flow.Fail(infrav1.InstancePowerCyclingReason, "", err)
	} else if !current {
		w.silent = true // whatever there is to say was said of what is there now
		return flow.Wait(infrav1.InstancePowerCyclingReason, "", shortWait)
	}
	if record.PowerCycle == cycleOff {
		if outcome := r.switchOff(ctx, w, cycler); !outcome.Done() {
			return outcome
		}
		record.PowerCycle = cycleOn
		if err := r.writeBoot(ctx, w, record); err != nil {
			return flow.Fail(infrav1.InstancePowerCyclingReason, "", err)
		}
	}
	return r.switchOn(ctx, w, cycler)
}

// isCurrent is whether the API server has on record what this pass sees. The cache of a manager that was just started may be older
// than the last that a killed one did, and a half that is done a second time does something.
func (r *Reconciler) isCurrent(ctx context.Context, w *world) (bool, error) {
	now := &infrav1.IngotMachine{}
	if err := r.MachineReader.Get(ctx, w.key(), now); err != nil {
		return false, fmt.Errorf("reading how far the boot is: %w", err)
	}
	return now.UID == w.infra.UID && now.DeletionTimestamp.IsZero() &&
		now.Annotations[infrav1.BootAnnotation] == w.infra.Annotations[infrav1.BootAnnotation], nil
}

// switchOff does the first half. A Node that has joined meanwhile is left alone: then there is only the second half, which does
// nothing to an instance that runs.
func (r *Reconciler) switchOff(ctx context.Context, w *world, cycler platform.PowerCycler) flow.Outcome {
	if r.mayHaveJoined(ctx, w) {
		return flow.Advance(infrav1.InstancePowerCyclingReason, "")
	}
	seen, err := cycler.SwitchOff(ctx, w.identity())
	return r.switched(w, seen, err, platform.PowerOff)
}

// switchOn does the second half, and writes down that there is no other power cycle.
func (r *Reconciler) switchOn(ctx context.Context, w *world, cycler platform.PowerCycler) flow.Outcome {
	seen, err := cycler.SwitchOn(ctx, w.identity())
	if outcome := r.switched(w, seen, err, platform.PowerOn); !outcome.Done() {
		return outcome
	}
	record := bootRecord{Since: metav1.NewTime(r.Clock.Now()), PowerCycle: cycleDone}
	if err := r.writeBoot(ctx, w, record); err != nil {
		return flow.Fail(infrav1.InstancePowerCyclingReason, "", err)
	}
	w.observed = &seen
	return flow.Advance(infrav1.InstancePowerCyclingReason, "")
}

// switched judges what came of one half. Of an instance that is gone nothing is left to do: the next phase says so.
func (r *Reconciler) switched(w *world, seen platform.Observation, err error, want platform.Power) flow.Outcome {
	switch {
	case err != nil:
		return r.instanceFailed(w, err)
	case seen.Existence == platform.Absent, seen.Started && seen.Power == want:
		return flow.Advance(infrav1.InstancePowerCyclingReason, "")
	default:
		message := "the instance is switched off and on"
		if seen.Detail != "" {
			message += ": " + seen.Detail
		}
		return flow.Wait(infrav1.InstancePowerCyclingReason, message, shortWait)
	}
}
