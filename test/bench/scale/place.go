// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// place is where the machines are made. Its guests take addresses by themselves.
type place interface {
	// name is what the figures are of.
	name() string
	// manager starts our manager with it.
	manager(ctx context.Context, p *plane) (manager, error)
	// describe changes the objects that machines share to what the place needs, and returns further ones.
	describe(endpoint *ingotv1.PlatformEndpoint, image *ingotv1.NodeImage, template *infrav1.IngotMachineTemplate) []client.Object
	// look tells what the place has done so far.
	look(ctx context.Context) (looked, error)
	// boot tells of every guest that has an address, once or more, until the context ends.
	boot(ctx context.Context, booted func(uuid string))
}

// looked is what a place has done so far.
type looked struct {
	// calls are how many it has had, by what was called. What is one for all machines is left out.
	calls map[string]int
	// instances is how many machines there are.
	instances int
	// away are, by machine, the times in which nothing could be done for it: the place was at work for it, or full.
	away map[string][]span
}

// nothing is a place that does nothing: what it costs is Cluster API's share, and that of our own reconcilers.
type nothing struct{ *fake.Platform }

func (nothing) name() string { return "nothing" }

// manager is in this process: the platform is its memory.
func (n nothing) manager(ctx context.Context, p *plane) (manager, error) {
	return startInside(ctx, p.Config, func(context.Context) session.Opener { return opener(n.Platform) })
}

func (nothing) describe(*ingotv1.PlatformEndpoint, *ingotv1.NodeImage, *infrav1.IngotMachineTemplate) []client.Object {
	return nil
}

func (n nothing) look(context.Context) (looked, error) {
	count := map[string]int{}
	for _, call := range n.Calls() {
		count[call.Method]++
	}
	return looked{calls: count, instances: len(n.Instances())}, nil
}

// boot gives every instance that runs an address.
func (n nothing) boot(ctx context.Context, booted func(uuid string)) {
	started := make(chan string, 100_000)
	n.Listen(func(e platform.Event) {
		if e.UUID != "" {
			started <- e.UUID
		}
	})
	addressed := map[string]bool{}
	for {
		select {
		case uuid := <-started:
			instance, exists := n.Instance(uuid)
			if !exists || !instance.Running || addressed[uuid] {
				continue
			}
			addressed[uuid] = true
			n.SetAddresses(uuid, address(len(addressed)))
			booted(uuid)
		case <-ctx.Done():
			return
		}
	}
}

// secretOf is the Secret with the credentials of an endpoint.
func secretOf(name string, data map[string][]byte) *corev1.Secret {
	return builder.BootstrapData(name, func(s *corev1.Secret) { s.Namespace, s.Data = namespace, data })
}
