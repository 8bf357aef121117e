// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flow is how every reconciler of Ingot ends a pass: with exactly one of four outcomes and a reason. It runs
// phases in order, records each outcome as a condition, and is the only place that builds a queue result. It holds no
// decision about any kind.
package flow

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
)

type kind int

const (
	advance kind = iota
	wait
	stall
	fail
)

// Outcome is how a phase ended.
type Outcome struct {
	kind    kind
	status  metav1.ConditionStatus
	reason  string
	message string
	after   time.Duration
	err     error
}

// Advance says that the phase is done and the next one may run.
func Advance(reason, message string) Outcome {
	return Outcome{kind: advance, status: metav1.ConditionTrue, reason: reason, message: message}
}

// Wait says that time or an event is needed. after is when to look again; 0 means that a watch will wake the
// reconciler, and the caller knows which.
func Wait(reason, message string, after time.Duration) Outcome {
	return Outcome{kind: wait, status: metav1.ConditionFalse, reason: reason, message: message, after: after}
}

// Stall says that nothing will change until a person or another controller changes something that is watched. The
// message says what.
func Stall(reason, message string) Outcome {
	return Outcome{kind: stall, status: metav1.ConditionFalse, reason: reason, message: message}
}

// Fail says that something went wrong that a retry with growing delay may cure. The error is kept out of the condition
// unless message is empty; pass a message where the error's text may change from try to try.
func Fail(reason, message string, err error) Outcome {
	if message == "" {
		message = err.Error()
	}
	return Outcome{kind: fail, status: metav1.ConditionFalse, reason: reason, message: message, err: err}
}

// Unknown returns the outcome with its condition Unknown instead of False: it could not be told.
func (o Outcome) Unknown() Outcome {
	o.status = metav1.ConditionUnknown
	return o
}

// Done is whether the outcome lets the next phase run.
func (o Outcome) Done() bool { return o.kind == advance }

// Reason is the reason of the outcome's condition.
func (o Outcome) Reason() string { return o.reason }

// Message is the message of the outcome's condition.
func (o Outcome) Message() string { return o.message }

// Result translates the outcome for the queue.
func (o Outcome) Result() (ctrl.Result, error) {
	if o.err != nil {
		return ctrl.Result{}, fmt.Errorf("%s: %w", o.reason, o.err)
	}
	return ctrl.Result{RequeueAfter: o.after}, nil
}

// Phase is one step of a reconciler, with the condition that reports on it.
type Phase struct {
	// Condition is the type of the condition that the outcome is recorded in.
	Condition string
	// Do runs the phase.
	Do func(ctx context.Context) Outcome
	// Gate is a phase that only holds or lets pass: that it lets pass is not recorded, because a later phase says whether
	// the condition is met.
	Gate bool
	// Aside is a phase, the last one, that nothing depends on. Its outcome is recorded, and the pass ends as if it had advanced;
	// it is looked at again when the phase says.
	Aside bool
}

// Run runs phases in order until one does not advance, records each outcome in the target's conditions, and returns the
// last one. Conditions of phases that did not run are left as they are.
func Run(ctx context.Context, target conditions.Setter, phases ...Phase) Outcome {
	last := Advance("", "")
	for _, phase := range phases {
		last = phase.Do(ctx)
		if !phase.Gate || !last.Done() {
			Record(target, phase.Condition, last)
		}
		switch {
		case last.Done():
		case phase.Aside:
			last.kind = advance
		default:
			return last
		}
	}
	return last
}

// Record writes one outcome as a condition.
func Record(target conditions.Setter, condition string, o Outcome) {
	conditions.Set(target, metav1.Condition{
		Type:    condition,
		Status:  o.status,
		Reason:  o.reason,
		Message: o.message,
	})
}
