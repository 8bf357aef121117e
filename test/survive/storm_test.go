// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// TestDaemonKilled kills libvirtd while it makes machines, as an out-of-memory killer does. All of them come up in the
// end, and no guest boots twice: a guest that boots a second time has initialised its node already.
func TestDaemonKilled(t *testing.T) {
	const machines = 20
	h, stop, err := startHost(t.Context())
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, h)
	t.Cleanup(f.startManager())
	endpoint := f.endpoint("", h.libvirt.URI)
	begin := time.Now()
	f.machines(machines, endpoint)
	f.eventually("some are half made", patience, func() bool { return len(h.domains(t, "")) >= 5 })
	killed, made, up := time.Since(begin), len(h.domains(t, "")), f.provisioned(endpoint)
	if up == machines {
		t.Fatal("all machines are there before libvirtd could be killed: the story proves nothing")
	}
	if err := syscall.Kill(h.libvirt.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := h.start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	back := time.Since(begin)
	f.eventually("all machines are there", patience, func() bool { return f.provisioned(endpoint) == machines })
	t.Logf("%d machines: libvirtd was killed after %s with %d domains (%d provisioned), was back after %s, and all were provisioned after %s",
		machines, killed.Round(100*time.Millisecond), made, up, back.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
	f.expectEachOnce(endpoint)
	t.Logf("deleting them took %s", f.deleteAll(endpoint).Round(100*time.Millisecond))
	f.expectEmptyHost()
}
