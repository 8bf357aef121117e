// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// Few workers serve many endpoints. Hosts that accept and never answer may cost the good one's machines a moment, and not a
// minute for each.
func testHangingEndpoints(t *testing.T, l *lab) {
	t.Helper()
	const workers, calls, hosts, callsEach = 4, 200, 9, 20
	good := l.reach(t, l.host.URI, nil)
	id := platform.Identity{UUID: "6f0c9d2e-1111-4222-8333-444455556666", ManagementClusterID: "mc", Storage: l.host.Pool}
	observe := func(s *libvirt.Session) func() error {
		return func() error {
			_, err := s.Observe(context.Background(), id) // without a deadline: the session alone must let it go
			return err
		}
	}
	alone := queue(workers, slices.Repeat([]func() error{observe(good)}, calls))

	address := listen(t, func(net.Conn) {})
	credentials := secrets(t, address)
	began := time.Now()
	var work []func() error
	for transport, uri := range uris(address) {
		for range hosts / 3 {
			s := attempt(t, uri, credentials)
			for range callsEach {
				work = append(work, func() error {
					if err := observe(s)(); !errors.Is(err, platform.ErrUnreachable) {
						t.Errorf("%s: %v", transport, err)
					}
					return nil
				})
			}
		}
	}
	opened := time.Since(began)
	for i := range calls { // in turns with those that hang, which come first
		work = slices.Insert(work, min(2*i+1, len(work)), observe(good))
	}
	together := queue(workers, work)
	for _, r := range []result{alone, together} {
		if r.err != nil {
			t.Error(r.err)
		}
	}
	t.Logf("%d calls to a good host by %d workers take %s; with %d calls to %d hosts that hang (opened in %s) all take %s, the longest %s",
		calls, workers, alone.all, hosts*callsEach, hosts, opened, together.all, together.longest)
	if limit := 3*alone.all + 10*time.Second; together.all > limit {
		t.Errorf("hosts that hang hold the workers: %s, want at most %s", together.all, limit)
	}
}

type result struct {
	all, longest time.Duration
	err          error
}

// queue works a queue off.
func queue(workers int, work []func() error) result {
	jobs := make(chan func() error, len(work))
	for _, w := range work {
		jobs <- w
	}
	close(jobs)
	var (
		r  result
		mu sync.Mutex
		wg sync.WaitGroup
	)
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for job := range jobs {
				start := time.Now()
				err := job()
				mu.Lock()
				r.longest, r.err = max(r.longest, time.Since(start)), errors.Join(r.err, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.all = time.Since(began)
	return r
}

// A host that freezes in the middle lets its callers go by itself, however patient they are.
func testFrozenHoldsNobody(t *testing.T, l *lab) {
	t.Helper()
	wire := newProxy(t, l.host.Socket)
	clock := clocktesting.NewFakeClock(time.Now())
	s := l.open(t, wire, func(c *libvirt.Config) { c.Clock = clock })
	id := platform.Identity{UUID: "6f0c9d2e-1111-4222-8333-444455556666", ManagementClusterID: "mc", Storage: l.host.Pool}
	wire.Freeze()
	const callers = 10 // more than run at once
	ended := make(chan error, callers)
	for range callers {
		go func() {
			_, err := s.Observe(context.Background(), id)
			ended <- err
		}()
	}
	began, left := clock.Now(), callers
	eventually(t, "all callers are let go", func() bool {
		clock.Step(time.Second)
		for {
			select {
			case err := <-ended:
				if left--; !errors.Is(err, platform.ErrUnreachable) {
					t.Errorf("got %v", err)
				}
			default:
				return left == 0
			}
		}
	})
	if held := clock.Now().Sub(began); held > 45*time.Second {
		t.Errorf("they were held for %s", held)
	}
	wire.Thaw()
}
