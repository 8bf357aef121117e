// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Instance is what a test sees of an instance from outside.
type Instance struct {
	// Request is the request that the instance was made from.
	Request platform.Request
	// Name is what people see.
	Name string
	// Disks are the names of the further disks that are there, in the order in which they were made.
	Disks []string
	// Starts is how often the instance was started. More than one breaks the contract, except by SwitchOn.
	Starts int
	// Running is whether it runs.
	Running bool
	// Bootstrap is the bootstrap data that is still on the platform.
	Bootstrap []byte
	// Channel is how the bootstrap data is delivered.
	Channel delivery.Channel
}

// Instance returns an instance, also one that is half made, or false.
func (p *Platform) Instance(uuid string) (Instance, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.instances[uuid]
	if i == nil || i.empty() {
		return Instance{}, false
	}
	return Instance{
		Request: i.req, Name: i.shownName(), Disks: slices.Clone(i.disks),
		Starts: i.starts, Running: i.running, Bootstrap: slices.Clone(i.bootstrap), Channel: i.channel,
	}, true
}

// Instances returns the uuids of everything that is there, foreign instances included, sorted.
func (p *Platform) Instances() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var uuids []string
	for uuid, i := range p.instances {
		if !i.empty() {
			uuids = append(uuids, uuid)
		}
	}
	slices.Sort(uuids)
	return uuids
}

// PlantForeign makes a running instance that is not ours.
func (p *Platform) PlantForeign(uuid string) {
	p.change(uuid, func(i *instance) {
		*i = instance{owner: "somebody else", disk: true, defined: true, running: true, starts: 1}
	})
}

// SetAddresses gives a running instance its addresses, beside those that are reserved for it.
func (p *Platform) SetAddresses(uuid string, addresses ...string) {
	p.change(uuid, func(i *instance) { i.addresses = addresses })
}

// PowerOffGuest ends an instance from within, as a guest does that powers itself off.
func (p *Platform) PowerOffGuest(uuid string) {
	p.change(uuid, func(i *instance) { i.running = false })
}

// ObeyShutdown makes the guest of an instance shut down when it is asked to, also if it was asked before.
func (p *Platform) ObeyShutdown(uuid string) {
	p.change(uuid, func(i *instance) {
		i.obeys = true
		if i.asked > 0 {
			i.running = false
		}
	})
}

// AskedToShutDown returns how often the guest of an instance was asked to shut down.
func (p *Platform) AskedToShutDown(uuid string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.instances[uuid]; i != nil {
		return i.asked
	}
	return 0
}

// TakeAddress reserves an address for somebody else.
func (p *Platform) TakeAddress(address netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reserved[address] = ""
}

// GiveAddress undoes TakeAddress.
func (p *Platform) GiveAddress(address netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reserved[address] == "" {
		delete(p.reserved, address)
	}
}

// Reserved returns the addresses that are reserved, for whomever, sorted.
func (p *Platform) Reserved() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Keys(p.reserved), netip.Addr.Compare)
}

// Vanish removes an instance with all its volumes and addresses behind the manager's back.
func (p *Platform) Vanish(uuid string) {
	p.mu.Lock()
	delete(p.instances, uuid)
	p.freeAddresses(uuid)
	p.mu.Unlock()
	p.emit(platform.Event{UUID: uuid})
}

// change changes an instance from outside, and tells the listeners.
func (p *Platform) change(uuid string, fn func(*instance)) {
	p.mu.Lock()
	i := p.instances[uuid]
	if i == nil {
		i = &instance{}
		p.instances[uuid] = i
	}
	fn(i)
	p.mu.Unlock()
	p.emit(platform.Event{UUID: uuid})
}

// PutImage makes an image Ready without a copy.
func (p *Platform) PutImage(id platform.ImageIdentity) {
	p.mu.Lock()
	p.image(id).ready = true
	p.mu.Unlock()
	p.emit(platform.Event{ImageSHA256: id.SHA256})
}

// HasImage returns whether an image is Ready.
func (p *Platform) HasImage(id platform.ImageIdentity) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.images[id]
	return i != nil && i.ready
}

// LoseImage removes an image behind everybody's back, also while the endpoint is cut off: its disk was replaced.
func (p *Platform) LoseImage(id platform.ImageIdentity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.images, id)
}

// HoldCopy keeps the copy of an image at a number of bytes until LetCopy.
func (p *Platform) HoldCopy(id platform.ImageIdentity, bytesDone int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.image(id)
	i.held, i.done = true, bytesDone
}

// LetCopy lets a held copy finish with the next call.
func (p *Platform) LetCopy(id platform.ImageIdentity) {
	p.mu.Lock()
	p.image(id).held = false
	p.mu.Unlock()
	p.emit(platform.Event{ImageSHA256: id.SHA256})
}

// FailCopy makes the next copy of an image end with an error.
func (p *Platform) FailCopy(id platform.ImageIdentity, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.image(id).fails = err
}

// Images returns the images that are Ready, sorted.
func (p *Platform) Images() []platform.ImageIdentity {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ready []platform.ImageIdentity
	for id, i := range p.images {
		if i.ready {
			ready = append(ready, id)
		}
	}
	slices.SortFunc(ready, func(a, b platform.ImageIdentity) int {
		return strings.Compare(a.Storage+"/"+a.SHA256, b.Storage+"/"+b.SHA256)
	})
	return ready
}
