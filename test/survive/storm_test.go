// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"strings"
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
	h.restart(t)
	back := time.Since(begin)
	there := func() bool { return f.provisioned(endpoint) == machines }
	for wait := time.Now(); !there() && time.Since(wait) < time.Minute; time.Sleep(50 * time.Millisecond) {
	}
	// A libvirtd that was killed while it started QEMU was seen to keep that domain to itself for minutes when it was back: it
	// answered no call that changes it. The machine says what ends that, and it is done once.
	if told := f.describe(); !there() && strings.Contains(told, "restart libvirtd on the host") {
		t.Logf("libvirtd is restarted, as a machine says:\n%s", told)
		h.restart(t)
	}
	f.eventually("all machines are there", patience, there)
	t.Logf("%d machines: libvirtd was killed after %s with %d domains (%d provisioned), was back after %s, and all were provisioned after %s",
		machines, killed.Round(100*time.Millisecond), made, up, back.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
	f.expectEachOnce(endpoint)
	t.Logf("deleting them took %s", f.deleteAll(endpoint).Round(100*time.Millisecond))
	f.expectEmptyHost()
}
