// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// proxy is a wire to libvirtd that is cut at a chosen effect, or when a test wants it.
type proxy struct {
	*wire.Proxy

	mu    sync.Mutex
	left  int // effects until the one at which the wire is cut; negative means never, or that it was cut
	when  wire.Verdict
	fired bool
	// cutBefore is a procedure at whose first call the wire is cut; 0 for none.
	cutBefore wire.Procedure
	asks      [][]byte // the calls that asked a guest to shut down
}

// newProxy lets sessions connect to target until the test ends.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	return newCutProxy(t, target, -1, wire.Pass)
}

// newCutProxy cuts the wire at the nth effect, from 0, before or after it.
func newCutProxy(t *testing.T, target string, n int, when wire.Verdict) *proxy {
	t.Helper()
	p := &proxy{left: n, when: when}
	var err error
	if p.Proxy, err = wire.New(target, p.judge); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) judge(m wire.Message) wire.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Kind == wire.Call && m.Procedure == wire.DomainShutdown {
		p.asks = append(p.asks, m.Bytes)
	}
	if m.Kind == wire.Call && m.Procedure == p.cutBefore {
		p.cutBefore = 0
		return wire.CutBefore
	}
	if m.Kind == wire.Call && m.Procedure.Reads() || p.left < 0 {
		return wire.Pass
	}
	if p.left--; p.left >= 0 {
		return wire.Pass
	}
	p.fired = true
	return p.when
}

// asked counts how often the guest with this uuid was asked to shut down.
func (p *proxy) asked(id uuid.UUID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, call := range p.asks {
		if bytes.Contains(call, id[:]) {
			n++
		}
	}
	return n
}

func (p *proxy) hasFired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fired
}
