// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// progress is what was seen of machines that come up.
type progress struct {
	all   time.Time // when the last was provisioned
	ways  map[types.UID]*way
	ready int
}

// way is one machine on its way.
type way struct {
	uuid                                string
	created, wanted, provisioned, ready time.Time // as seen; wanted is when Cluster API had made it the Machine's own
}

// see takes what a machine tells.
func (p *progress) see(m *infrav1.IngotMachine) {
	now := time.Now()
	w := p.ways[m.UID]
	if w == nil {
		w = &way{created: now}
		p.ways[m.UID] = w
	}
	w.uuid = strings.TrimPrefix(m.Spec.ProviderID, "ingot://")
	if w.wanted.IsZero() && slices.ContainsFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Machine" }) {
		w.wanted = now
	}
	if told := m.Status.Initialization.Provisioned; told != nil && *told && w.provisioned.IsZero() {
		w.provisioned, p.all = now, now
	}
	if conditions.IsTrue(m, infrav1.ReadyCondition) && w.ready.IsZero() {
		w.ready = now
		p.ready++
	}
}

func (p *progress) provisioned() (n int) {
	for _, w := range p.ways {
		if !w.provisioned.IsZero() {
			n++
		}
	}
	return n
}

// durations are, of each machine, how long it took, and how long of that was our own share: from Cluster API's word that it is to
// be made until it was provisioned, without the times in which nothing could be done for it.
func (p *progress) durations(away map[string][]span) (took, own []time.Duration) {
	for _, w := range p.ways {
		took = append(took, w.provisioned.Sub(w.created))
		own = append(own, span{w.wanted, w.provisioned}.without(away[w.uuid]))
	}
	return took, own
}

// await waits until n machines are Ready.
func (e *experiment) await(ctx context.Context, n int) (*progress, error) {
	p := &progress{ways: map[types.UID]*way{}}
	for told := time.Now(); p.ready < n; {
		ended, err := e.watch(ctx, p, n, &told)
		if err != nil {
			return p, err
		}
		if !ended {
			break
		}
	}
	return p, nil
}

// watch looks on until n machines are Ready, or the watch has ended, as watches do now and then.
func (e *experiment) watch(ctx context.Context, p *progress, n int, told *time.Time) (ended bool, err error) {
	watch, err := e.plane.client.Watch(ctx, &infrav1.IngotMachineList{}, client.InNamespace(namespace))
	if err != nil {
		return false, err
	}
	defer watch.Stop()
	for p.ready < n {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(3 * time.Minute):
			return false, fmt.Errorf("stuck at %d provisioned and %d ready of %d: %s", p.provisioned(), p.ready, n, e.example(ctx, p.ways))
		case event, open := <-watch.ResultChan():
			if !open {
				return true, nil
			}
			if m, is := event.Object.(*infrav1.IngotMachine); is {
				p.see(m)
			}
		}
		if time.Since(*told) > 10*time.Second {
			*told = time.Now()
			say(fmt.Sprintf("  %d of %d provisioned, %d ready", p.provisioned(), n, p.ready))
		}
	}
	return false, nil
}

// example describes a machine that is not ready.
func (e *experiment) example(ctx context.Context, ways map[types.UID]*way) string {
	list := &infrav1.IngotMachineList{}
	if err := e.plane.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	for i := range list.Items {
		if w := ways[list.Items[i].UID]; w == nil || w.ready.IsZero() {
			return fmt.Sprintf("%s: %+v", list.Items[i].Name, list.Items[i].Status.Conditions)
		}
	}
	return fmt.Sprintf("%d IngotMachines exist (guests: %v)", len(list.Items), e.guests.trouble())
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
