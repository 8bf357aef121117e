// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// instance is what the endpoint has of one uuid.
type instance struct {
	owner string
	req   platform.Request
	// name is the name that somebody else gave it; empty for the one that was asked for.
	name string
	// disk is whether the root disk is there, disks are the names of the further disks.
	disk      bool
	disks     []string
	bootstrap []byte
	channel   delivery.Channel
	defined   bool
	starts    int
	running   bool
	addresses []string
	// asked is how often the guest was asked to shut down, lastAsked when; obeys is whether it does.
	asked     int
	lastAsked time.Time
	obeys     bool
	// console is what the guest has written to its serial console.
	console []byte
}

func (i *instance) empty() bool {
	return !i.disk && len(i.disks) == 0 && i.bootstrap == nil && !i.defined
}

func (i *instance) observe() platform.Observation {
	if i == nil || i.empty() {
		return platform.Observation{Existence: platform.Absent}
	}
	o := platform.Observation{
		Existence:        platform.Exists,
		Started:          i.starts > 0,
		BootstrapPresent: i.bootstrap != nil,
		Detail:           "only volumes are there",
	}
	switch {
	case i.running:
		o.Power, o.Detail, o.Addresses = platform.PowerOn, "running", i.allAddresses()
		o.ConsoleLog = "/fake/" + i.req.UUID + "/console.log"
	case i.defined:
		o.Power, o.Detail = platform.PowerOff, "shut off"
	}
	return o
}

// Ensure implements platform.Platform.
func (p *Platform) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	var o platform.Observation
	err := p.onInstance(ctx, "Ensure", req.Identity, func() (err error) {
		o, err = p.ensure(req)
		return err
	})
	return o, err
}

func (p *Platform) ensure(req platform.Request) (platform.Observation, error) {
	i := p.instances[req.UUID]
	if i == nil {
		i = &instance{owner: req.ManagementClusterID}
	}
	if i.starts > 0 {
		return i.observe(), nil
	}
	if err := p.admit(req); err != nil {
		return platform.Observation{}, err
	}
	p.instances[req.UUID] = i
	steps := slices.Concat([]step{
		{CreateDisk, !i.disk, func() { i.disk, i.req = true, req }},
	}, i.createDisks(req), []step{
		{Reserve, len(staticAddresses(req)) > 0, func() { p.reserve(req) }},
		{WriteBootstrap, len(req.Bootstrap.Data) > 0, func() { i.bootstrap = slices.Clone(req.Bootstrap.Data) }},
		{Define, true, func() { i.defined, i.req, i.channel = true, req, channelOf(req.Bootstrap) }},
		{Start, true, func() { i.running = true; i.starts++ }},
	})
	if err := p.take(steps); err != nil {
		return platform.Observation{}, err
	}
	return i.observe(), nil
}

// admit refuses what the endpoint cannot do.
func (p *Platform) admit(req platform.Request) error {
	switch {
	case req.UUID == "" || req.ManagementClusterID == "" || req.Storage == "":
		return fmt.Errorf("%w: the identity is incomplete", platform.ErrInvalid)
	case req.CPUs < 1 || req.MemoryBytes < 1:
		return fmt.Errorf("%w: an instance needs CPUs and memory", platform.ErrInvalid)
	case req.Firmware != platform.FirmwareUEFI && req.Firmware != platform.FirmwareBIOS:
		return fmt.Errorf("%w: firmware %q", platform.ErrInvalid, req.Firmware)
	case len(req.Bootstrap.Data) > 0 && channelOf(req.Bootstrap).Kind == "":
		return fmt.Errorf("%w: no channel for bootstrap data", platform.ErrUnsupported)
	case !p.hasStorage(req.Storage):
		return fmt.Errorf("%w: there is no storage %s", platform.ErrInvalid, req.Storage)
	}
	for _, nic := range req.Interfaces {
		if p.options.Networks != nil && !slices.Contains(p.options.Networks, nic.Network) {
			return fmt.Errorf("%w: there is no network %s", platform.ErrInvalid, nic.Network)
		}
	}
	if err := cmp.Or(checkHardware(req), p.admitAddresses(req), p.admitHardware(req)); err != nil {
		return err
	}
	img := p.images[platform.ImageIdentity{SHA256: req.ImageSHA256, Storage: req.Storage}]
	if img == nil || !img.ready {
		return fmt.Errorf("%w: %s", platform.ErrImageNotReady, req.ImageSHA256)
	}
	if req.RootDiskBytes != 0 && req.RootDiskBytes < p.options.ImageDiskBytes {
		return fmt.Errorf("%w: root disk of %d bytes is smaller than the image", platform.ErrInvalid, req.RootDiskBytes)
	}
	return nil
}

// Observe implements platform.Platform.
func (p *Platform) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	var o platform.Observation
	err := p.onInstance(ctx, "Observe", id, func() error {
		o = p.instances[id.UUID].observe()
		return nil
	})
	return o, err
}

// Release implements platform.Platform.
func (p *Platform) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	var o platform.Observation
	err := p.onInstance(ctx, "Release", req.Identity, func() (err error) {
		o, err = p.release(req)
		return err
	})
	return o, err
}

func (p *Platform) release(req platform.ReleaseRequest) (platform.Observation, error) {
	i := p.instances[req.UUID]
	if i == nil {
		return i.observe(), nil
	}
	if now := p.options.Clock.Now(); i.running && now.Before(req.ForceAfter) {
		if err := p.askToShutDown(i, now); err != nil {
			return platform.Observation{}, err
		}
		o := i.observe()
		if i.running {
			o.Detail = "asked to shut down"
		}
		return o, nil
	}
	steps := slices.Concat([]step{
		{PowerOff, i.running, func() { i.running = false }},
		{FreeAddresses, p.hasAddresses(req.UUID), func() { p.freeAddresses(req.UUID) }},
		{Undefine, i.defined, func() { i.defined, i.starts = false, 0 }},
	}, i.deleteDisks(), []step{
		{DeleteDisk, i.disk, func() { i.disk = false }},
		{DeleteBootstrap, i.bootstrap != nil, func() { i.bootstrap = nil }},
	})
	if err := p.take(steps); err != nil {
		return platform.Observation{}, err
	}
	delete(p.instances, req.UUID)
	return platform.Observation{Existence: platform.Absent}, nil
}

// ScrubBootstrap implements platform.BootstrapScrubber.
func (p *Platform) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	return p.onInstance(ctx, "ScrubBootstrap", id, func() error {
		i := p.instances[id.UUID]
		if i == nil || i.bootstrap == nil {
			return nil
		}
		return p.effect(DeleteBootstrap, func() { i.bootstrap = nil })
	})
}

// SwitchOff implements platform.PowerCycler.
func (p *Platform) SwitchOff(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return p.switchPower(ctx, "SwitchOff", id, func(i *instance) error {
		if !i.running {
			return nil
		}
		return p.effect(PowerOff, func() { i.running = false })
	})
}

// SwitchOn implements platform.PowerCycler.
func (p *Platform) SwitchOn(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return p.switchPower(ctx, "SwitchOn", id, func(i *instance) error {
		if i.running {
			return nil
		}
		return p.effect(Start, func() { i.running = true; i.starts++ })
	})
}

// switchPower runs fn on an instance that was started before.
func (p *Platform) switchPower(ctx context.Context, method string, id platform.Identity, fn func(*instance) error) (platform.Observation, error) {
	var o platform.Observation
	err := p.onInstance(ctx, method, id, func() error {
		i := p.instances[id.UUID]
		if i != nil && i.starts > 0 {
			if err := fn(i); err != nil {
				return err
			}
		}
		o = i.observe()
		return nil
	})
	return o, err
}

// onInstance runs fn on an instance that is ours or not there, and tells the listeners.
func (p *Platform) onInstance(ctx context.Context, method string, id platform.Identity, fn func() error) error {
	changed := false
	err := func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		before := p.state(id.UUID)
		defer func() { changed = !reflect.DeepEqual(before, p.state(id.UUID)) }()
		if err := p.begin(Call{Method: method, UUID: id.UUID}); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
		}
		if i := p.instances[id.UUID]; i != nil && i.owner != id.ManagementClusterID {
			return fmt.Errorf("%w: instance %s", platform.ErrForeign, id.UUID)
		}
		return fn()
	}()
	if changed {
		p.emit(platform.Event{UUID: id.UUID})
	}
	return err
}

// state is the instance as it is now, the zero value where there is none. A call that changes nothing makes no event, as on
// real platforms: whoever is woken by events and calls would go round for ever.
func (p *Platform) state(uuid string) instance {
	if i := p.instances[uuid]; i != nil {
		return *i
	}
	return instance{}
}
