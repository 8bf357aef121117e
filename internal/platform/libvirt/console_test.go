// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// consoleOf is the file with the console log of an instance.
func (l *lab) consoleOf(id platform.Identity) string {
	return filepath.Join(l.host.PoolPath, libvirt.VolumeNames(id)[2])
}

func testConsole(t *testing.T, l *lab) {
	t.Helper()
	wire := newProxy(t, l.host.Socket)
	p := l.open(t, wire, nil)
	req := l.request(t, p)
	if log, err := p.ReadConsole(t.Context(), req.Identity, 100); len(log) != 0 || err != nil {
		t.Errorf("of a machine that is not there: %q, %v", log, err)
	}
	elsewhere := req.Identity
	elsewhere.Storage = "no-such-pool"
	if log, err := p.ReadConsole(t.Context(), elsewhere, 100); len(log) != 0 || err != nil {
		t.Errorf("in a pool that is not there: %q, %v", log, err)
	}
	o := run(t, p, req)
	if o.ConsoleLog != l.consoleOf(req.Identity) {
		t.Fatalf("the log is %s, this test looks at %s", o.ConsoleLog, l.consoleOf(req.Identity))
	}
	log := make([]byte, 700_000) // some packets and a part
	for i := range log {
		log[i] = byte(i * 7 >> 3)
	}
	if err := os.WriteFile(o.ConsoleLog, log, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.ConsoleLog+".0", []byte("older"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, most := range []int64{0, 1, 262_120, 262_121, 699_999, 700_000, 700_001, 1 << 40} {
		got, err := p.ReadConsole(t.Context(), req.Identity, most)
		if want := log[int64(len(log))-min(most, int64(len(log))):]; err != nil || !bytes.Equal(got, want) {
			t.Errorf("the last %d bytes: got %d, %v", most, len(got), err)
		}
	}
	t.Run("while the guest prints", func(t *testing.T) {
		stop := make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- grow(o.ConsoleLog, stop) }()
		for range 20 {
			got, err := p.ReadConsole(t.Context(), req.Identity, 300_000)
			if err != nil || len(got) != 300_000 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("of somebody else", func(t *testing.T) {
		other := req.Identity
		other.ManagementClusterID = "another"
		l.volume(t, libvirt.VolumeNames(other)[2]) // even when the volume is named as theirs would be
		if log, err := p.ReadConsole(t.Context(), other, 100); !errors.Is(err, platform.ErrForeign) || len(log) != 0 {
			t.Errorf("got %q, %v", log, err)
		}
		if _, err := p.ReadConsole(t.Context(), platform.Identity{UUID: "../x"}, 100); !errors.Is(err, platform.ErrInvalid) {
			t.Errorf("a malformed identity: %v", err)
		}
	})
	t.Run("while libvirtd hangs", func(t *testing.T) {
		wire.Freeze()
		defer wire.Thaw()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := p.ReadConsole(ctx, req.Identity, 100); !errors.Is(err, platform.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
}

// grow appends to a file until it is told to stop.
func grow(path string, stop <-chan struct{}) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := fmt.Fprintf(f, "line %d %s\n", i, uuid.NewString()); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
