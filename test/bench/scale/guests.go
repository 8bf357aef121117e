// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// guests boot as soon as they are started and have an address, and join as Nodes.
type guests struct {
	place  place
	client client.Client

	mu     sync.Mutex
	booted map[string]bool
	err    error
}

func newGuests(p place, c client.Client) *guests {
	return &guests{place: p, client: c, booted: map[string]bool{}}
}

// run boots guests, a few at a time, until the context ends.
func (g *guests) run(ctx context.Context) {
	started := make(chan string, 100_000)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case uuid := <-started:
					g.join(ctx, uuid)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	g.place.boot(ctx, func(uuid string) {
		g.mu.Lock()
		done := g.booted[uuid]
		g.booted[uuid] = true
		g.mu.Unlock()
		if !done {
			started <- uuid
		}
	})
	all.Wait()
}

// address is the address of the nth guest.
func address(n int) string { return fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255) }

func (g *guests) join(ctx context.Context, uuid string) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-" + uuid},
		Spec:       corev1.NodeSpec{ProviderID: "ingot://" + uuid},
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status.NodeInfo.OSImage = builder.NodeImage(imageName).Spec.NodeIdentity.OSImage
	node.Status.NodeInfo.KubeletVersion = builder.KubernetesVersion
	err := g.client.Create(ctx, node) // with all that it tells of itself, as a kubelet does
	if err != nil && ctx.Err() == nil {
		g.mu.Lock()
		g.err = err
		g.mu.Unlock()
	}
}

// trouble is what went wrong last with a guest.
func (g *guests) trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// opened is a session with the fake, as one manager has it.
type opened struct{ *fake.Platform }

func (opened) Check(context.Context) (string, error) { return "fake 1", nil }

func (opened) Close() {}

// opener opens sessions with the fake.
func opener(p *fake.Platform) session.Opener {
	return func(_ session.Settings, events func(platform.Event)) (session.Session, error) {
		p.Listen(events)
		go events(platform.Event{Session: true})
		return opened{p}, nil
	}
}
