// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

var (
	_ platform.Inventory        = (*Platform)(nil)
	_ platform.CapacityReporter = (*Platform)(nil)
	_ platform.ConsoleReader    = (*Platform)(nil)
)

// List implements platform.Inventory.
func (p *Platform) List(ctx context.Context, managementClusterID string) ([]platform.Owned, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(Call{Method: "List"}); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	var owned []platform.Owned
	for uuid, i := range p.instances {
		if i.empty() || i.owner != managementClusterID {
			continue
		}
		o := platform.Owned{Identity: platform.Identity{UUID: uuid, ManagementClusterID: i.owner, Storage: i.req.Storage}}
		if i.defined {
			o.Name, o.Power = cmp.Or(i.name, i.req.Name), platform.PowerOff
		}
		if i.running {
			o.Power = platform.PowerOn
		}
		owned = append(owned, o)
	}
	slices.SortFunc(owned, func(a, b platform.Owned) int { return cmp.Compare(a.UUID, b.UUID) })
	return owned, nil
}

// Capacity implements platform.CapacityReporter.
func (p *Platform) Capacity(context.Context) (platform.Capacity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(Call{Method: "Capacity"}); err != nil {
		return platform.Capacity{}, err
	}
	return cmp.Or(p.options.Capacity, platform.Capacity{CPUs: 1 << 20, MemoryBytes: 1 << 50}), nil
}

// ReadConsole implements platform.ConsoleReader.
func (p *Platform) ReadConsole(ctx context.Context, id platform.Identity, maxBytes int64) ([]byte, error) {
	var text []byte
	err := p.onInstance(ctx, "ReadConsole", id, func() error {
		if i := p.instances[id.UUID]; i != nil {
			text = slices.Clone(i.console[max(0, int64(len(i.console))-maxBytes):])
		}
		return nil
	})
	return text, err
}

// PrintOnConsole adds to what a guest has written to its serial console.
func (p *Platform) PrintOnConsole(uuid, text string) {
	p.change(uuid, func(i *instance) { i.console = append(i.console, text...) })
}
