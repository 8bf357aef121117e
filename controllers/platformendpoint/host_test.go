// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// host is what is behind an endpoint: the fake, with an inventory and a capacity, and with what a test looks at.
type host struct {
	*fake.Platform

	story *story

	mu       sync.Mutex
	settings []session.Settings
	open     int
	checks   int
	lists    int
	publish  func(platform.Event)
	// refusal is what opening a session ends with, trouble what a check of an open one ends with.
	refusal, trouble error
	capacity         platform.Capacity
	// afterList runs once after the next list was made, before it is returned, and beforeRelease before each removal.
	afterList     func()
	listFails     error
	beforeRelease func(id string) error
	// rounds is how many calls a removal takes.
	rounds int
	asked  map[string]int
	// plain is whether the sessions have no capability.
	plain bool
	// account is what the account lacks; nil on platforms whose accounts have no privileges.
	account *account
}

// opened is one session with a host.
type opened struct{ *host }

var (
	_ session.Session           = opened{}
	_ platform.Inventory        = opened{}
	_ platform.CapacityReporter = opened{}
)

func (h *host) openSession(settings session.Settings, events func(platform.Event)) (session.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusal != nil {
		return nil, h.refusal
	}
	if settings.Spec.ManagementClusterID == "" {
		h.story.Error("a session is opened before there is an owner token")
	}
	h.open++
	h.settings = append(h.settings, settings)
	h.publish = events
	if h.plain {
		return plain{opened{h}}, nil
	}
	if h.account != nil {
		return guarded{opened{h}}, nil
	}
	return opened{h}, nil
}

// plain is a session with a platform that can do what it must and nothing more.
type plain struct{ session.Session }

// Check implements session.Session.
func (o opened) Check(context.Context) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checks++
	return "fake 1", o.trouble
}

// Close implements session.Session.
func (o opened) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open--
}

// Capacity implements platform.CapacityReporter.
func (o opened) Capacity(context.Context) (platform.Capacity, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.capacity, nil
}

// List implements platform.Inventory.
func (o opened) List(_ context.Context, id string) ([]platform.Owned, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lists++
	if o.listFails != nil {
		return nil, o.listFails
	}
	var owned []platform.Owned
	for _, uuid := range o.Instances() {
		i, there := o.Instance(uuid)
		if !there || i.Request.ManagementClusterID != id {
			continue
		}
		power := platform.PowerOff
		if i.Running {
			power = platform.PowerOn
		}
		owned = append(owned, platform.Owned{Identity: platform.Identity{UUID: uuid, ManagementClusterID: id, Storage: "default"}, Name: i.Request.Name, Power: power})
	}
	if then := o.afterList; then != nil {
		o.afterList = nil
		then()
	}
	return owned, nil
}

// Release implements platform.Platform.
func (o opened) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	o.mu.Lock()
	before := o.beforeRelease
	if o.asked == nil {
		o.asked = map[string]int{}
	}
	o.asked[req.UUID]++
	asked, rounds := o.asked[req.UUID], o.rounds
	o.mu.Unlock()
	if before != nil {
		if err := before(req.UUID); err != nil {
			return platform.Observation{}, err
		}
	}
	if asked < rounds {
		return platform.Observation{Existence: platform.Exists, Power: platform.PowerOn}, nil
	}
	return o.Platform.Release(ctx, req)
}

// count returns how often the host was looked at.
func (h *host) count() (checks, lists int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checks, h.lists
}

func (h *host) sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// last returns the settings of the last session.
func (h *host) last() session.Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.settings) == 0 {
		return session.Settings{}
	}
	return h.settings[len(h.settings)-1]
}

// released returns the uuids of which the removal was asked for, sorted.
func (h *host) released() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.asked))
}
