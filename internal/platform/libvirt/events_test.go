// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Observations are kept in memory until an event comes, so whatever a person does to a machine must be told.
func testEventsByHand(t *testing.T, l *lab) {
	t.Helper()
	p, events := l.listen(t)
	eventually(t, "the session is connected", func() bool { return p.Status().Connected })
	req := l.request(t, p)
	run(t, p, req)
	d := l.domain(t, req.UUID)
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"suspended", func() error { return l.admin.DomainSuspend(d) }},
		{"resumed", func() error { return l.admin.DomainResume(d) }},
		{"defined again", func() error {
			_, err := l.admin.DomainDefineXML(strings.Replace(l.definition(t, req.UUID), "</description>", " By hand.</description>", 1))
			return err
		}},
		{"switched off", func() error { return l.admin.DomainDestroy(d) }},
		{"renamed", func() error {
			_, err := l.admin.DomainRename(d, golibvirt.OptString{"renamed-by-hand"}, 0)
			return err
		}},
		{"started", func() error { return l.admin.DomainCreate(l.domain(t, req.UUID)) }},
		{"ended by QEMU", func() error { return l.killQEMU(t, req.UUID) }},
		{"undefined", func() error { return l.admin.DomainUndefineFlags(l.domain(t, req.UUID), golibvirt.DomainUndefineNvram) }},
	} {
		time.Sleep(200 * time.Millisecond) // what the step before is told late
		clear(events())
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		eventually(t, "it is told that the machine was "+c.what, func() bool { return events()[platform.Event{UUID: req.UUID}] })
		if c.what == "renamed" {
			if o, err := p.Observe(t.Context(), req.Identity); err != nil || o.Existence != platform.Exists || o.Power != platform.PowerOff {
				t.Errorf("under another name it is %+v, %v", o, err)
			}
			if got := list(t, p, "mc"); len(got) != 1 || got[0].Name != "renamed-by-hand" {
				t.Errorf("under another name it is listed as %+v", got)
			}
		}
	}
}

// killQEMU kills the process of a guest.
func (l *lab) killQEMU(t *testing.T, id string) error {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil {
			continue
		}
		command, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !bytes.HasPrefix(command, []byte("/usr/bin/qemu-system-")) || !bytes.Contains(command, []byte("-uuid\x00"+id)) {
			continue
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		return process.Kill()
	}
	return errors.New("no QEMU has this uuid")
}
