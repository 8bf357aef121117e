// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

const pollEvery = 2 * time.Second

// follow tells what happens to each machine until done says so, or the deadline passes. A deadline that passes is an
// error that says what each machine waits for.
func (q *quickstart) follow(ctx context.Context, limit time.Duration, done func(context.Context) (bool, error)) error {
	deadline := q.Clock.Now().Add(limit)
	for {
		words, err := q.machineWords(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("reading the machines: %w", err)
		}
		q.tellChanges(q.told, words)
		q.told = words
		finished, err := done(ctx)
		if err != nil || finished {
			return err
		}
		if q.Clock.Now().After(deadline) {
			return fmt.Errorf("not finished after %s; the machines: %v. Look at: %s get ingotmachines -o wide, and at the consoles in %s",
				short(limit), q.told, q.kubectl(""), q.consoleDir())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.Clock.After(pollEvery):
		}
	}
}

// tellChanges tells what changed from one look to the next, in the order of names.
func (q *quickstart) tellChanges(before, now map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] != now[name] {
			q.say("      %s: %s", name, now[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, still := now[name]; !still {
			q.say("      %s: gone", name)
		}
	}
}

// machineWords is what each machine does, in plain words.
func (q *quickstart) machineWords(ctx context.Context) (map[string]string, error) {
	machines := &clusterv1.MachineList{}
	if err := q.management.List(ctx, machines, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	words := map[string]string{}
	for i := range machines.Items {
		machine := &machines.Items[i]
		infra := &infrav1.IngotMachine{}
		key := client.ObjectKey{Namespace: namespace, Name: machine.Spec.InfrastructureRef.Name}
		if err := q.management.Get(ctx, key, infra); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		words[machine.Name] = describe(machine, infra)
	}
	return words, nil
}

// describe says in plain words where a machine is on its way.
func describe(machine *clusterv1.Machine, infra *infrav1.IngotMachine) string {
	from := ""
	if image := infra.Spec.PinnedImage.Name; image != "" {
		from = " from " + image
	}
	switch {
	case !machine.DeletionTimestamp.IsZero():
		return "draining and deleting"
	case conditions.IsTrue(machine, clusterv1.MachineNodeReadyCondition):
		return "ready, runs " + infra.Status.NodeOSImage
	case machine.Status.NodeRef.IsDefined():
		return "joined as node " + machine.Status.NodeRef.Name
	}
	// The first condition that is not True is what the machine waits for.
	for _, step := range []struct{ condition, words string }{
		{infrav1.ImageResolvedCondition, "choosing its image"},
		{infrav1.ImageReplicatedCondition, "copying its image"},
		{infrav1.BootstrapAvailableCondition, "waiting for its bootstrap data"},
		{infrav1.InstanceReadyCondition, "starting" + from},
		{infrav1.NodeJoinedCondition, "booting" + from + ", waiting for its node"},
	} {
		condition := conditions.Get(infra, step.condition)
		if condition == nil {
			return step.words
		}
		if condition.Status != metav1.ConditionTrue {
			return step.words + detail(condition)
		}
	}
	return "waiting for Cluster API"
}

// detail adds what a person should know of a condition that is not True.
func detail(condition *metav1.Condition) string {
	switch condition.Reason {
	case infrav1.WaitingForNodeReason, infrav1.NodeUnknownReason, infrav1.WaitingForBootstrapDataReason,
		infrav1.InstanceCreatingReason, infrav1.InstanceWaitingForAddressReason:
		return "" // the words say it already
	default:
		return ": " + condition.Message
	}
}
