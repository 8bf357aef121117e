// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// followed are the machines in the simulated vCenter. They are looked at beside its API: who counts must not slow the counted.
type followed struct {
	limit     int             // of machines in hand
	addressed map[string]bool // of run alone

	mu       sync.Mutex
	machines map[string]seen
	guests   map[string]string    // machines by the addresses of their guests
	inHand   map[string]time.Time // when the clone was asked for, of machines whose address the manager does not know yet
	away     map[string][]span
	full     []span
	fullFrom time.Time // zero while there is room for one more in hand
}

func follow(limit int) *followed {
	return &followed{limit: limit, addressed: map[string]bool{}, guests: map[string]string{}, inHand: map[string]time.Time{}, away: map[string][]span{}}
}

var (
	clonePattern   = regexp.MustCompile(`<key>` + regexp.QuoteMeta(machineKey) + `</key><value[^>]*>([^<]+)<`)
	findPattern    = regexp.MustCompile(`<uuid>([^<]+)<`)
	addressPattern = regexp.MustCompile(`>(10\.\d+\.\d+\.\d+)<`)
)

// witness notes when vCenter is at work for each machine: while it answers the search for it, and from the call for its clone until
// the manager is told the address of its guest. The simulator does one change after another, so most of it is the wait for those of
// other machines.
func (f *followed) witness(method string, call []byte) (answered func(answer []byte)) {
	now := time.Now()
	switch method {
	case "FindAllByUuid":
		return func([]byte) {
			if m := findPattern.FindSubmatch(call); m != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.away[string(m[1])] = append(f.away[string(m[1])], span{now, time.Now()})
			}
		}
	case "CloneVM_Task":
		if m := clonePattern.FindSubmatch(call); m != nil {
			f.take(string(m[1]), now)
		}
	case "WaitForUpdatesEx":
		return f.told
	}
	return nil
}

// take notes that a machine is in hand.
func (f *followed) take(id string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.inHand[id]; again {
		return
	}
	f.inHand[id] = now
	if len(f.inHand) == f.limit {
		f.fullFrom = now
	}
}

// told notes which guests' addresses are in what the manager was told.
func (f *followed) told(answer []byte) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range addressPattern.FindAllSubmatch(answer, -1) {
		id := f.guests[string(m[1])]
		asked, making := f.inHand[id]
		if !making {
			continue
		}
		f.away[id] = append(f.away[id], span{asked, now})
		if len(f.inHand) == f.limit {
			f.full = append(f.full, span{f.fullFrom, now})
		}
		delete(f.inHand, id)
	}
}

// run gives machines addresses until the context ends.
func (f *followed) run(ctx context.Context, v *vcenter.VCenter) {
	for n := 0; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		now := map[string]seen{}
		for id, m := range v.Census(machineKey) {
			if m.Running && !f.addressed[id] {
				n++
				f.mu.Lock()
				f.guests[address(n)] = id
				f.mu.Unlock()
				f.addressed[id] = v.GiveAddress(ctx, id, address(n)) == nil
			}
			now[id] = seen{Count: m.Count, Addressed: f.addressed[id]}
		}
		f.mu.Lock()
		f.machines = now
		f.mu.Unlock()
	}
}

// waits are the times in which nothing could be done for each machine: vCenter was at work for it, or there was no room before it
// began. That there was room for others, who were before it in the line, is none of its time.
func (t told) waits() map[string][]span {
	all := map[string][]span{}
	for id, away := range t.Away {
		turn := span{}
		for _, full := range t.Full {
			if full.To.Before(away[0].From) && full.To.After(turn.To) {
				turn.To = full.To
			}
		}
		all[id] = append(slices.Clone(away), turn)
	}
	return all
}
