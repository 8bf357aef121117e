// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/klauspost/compress/zstd"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// stopDaemon ends libvirtd and leaves the guests.
func stopDaemon(t *testing.T, l *lab) error {
	t.Helper()
	return hypervisor.StopDaemon(t.Context(), l.options)
}

// room is the size of the small file system.
const room = 24 << 20

// smallFileSystem mounts a file system that is easily filled, until the test ends.
func smallFileSystem(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "small-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(room)); err != nil {
		t.Fatalf("this test mounts a small file system and needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func testFullPool(t *testing.T, l *lab, small string) {
	t.Helper()
	pool, err := l.admin.StoragePoolDefineXML("<pool type='dir'><name>small</name><target><path>"+small+"</path></target></pool>", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.admin.StoragePoolCreate(pool, golibvirt.StoragePoolCreateNormal); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.admin.StoragePoolDestroy(pool), l.admin.StoragePoolUndefine(pool) })
	p := l.Session(t)

	big := l.artefact(t, make([]byte, 2*room), "raw")
	big.Storage = "small"
	compressed := l.artefact(t, pack(t, make([]byte, 2*room)), "raw")
	compressed.Storage, compressed.Compression = "small", "zstd"
	for name, image := range map[string]platform.ImageRequest{"seen before": big, "seen while writing": compressed} {
		for range 2 {
			if err := store(t.Context(), p, image); !errors.Is(err, platform.ErrCapacity) {
				t.Errorf("%s: got %v, want %q", name, err, platform.ErrCapacity)
			}
		}
	}
	if files := l.files(t, small); len(files) > 0 {
		t.Errorf("left in the full pool: %v", files)
	}
	fits := l.artefact(t, bytes.Repeat([]byte("z"), 4<<20), "raw")
	fits.Storage = "small"
	if err := store(t.Context(), p, fits); err != nil {
		t.Errorf("an image that fits: %v", err)
	}
}

func pack(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// Calls end with their context, and the session notices by itself and comes back.
func testFrozen(t *testing.T, l *lab) {
	t.Helper()
	wire := newProxy(t, l.host.Socket)
	clock := clocktesting.NewFakeClock(time.Now())
	s := l.open(t, wire, func(c *libvirt.Config) { c.Clock = clock })
	if _, err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	wire.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	id := platform.Identity{UUID: "6f0c9d2e-1111-4222-8333-444455556666", ManagementClusterID: "mc", Storage: l.host.Pool}
	if o, err := s.Observe(ctx, id); !errors.Is(err, platform.ErrUnreachable) || o.Existence != platform.Unknown {
		t.Errorf("Observe: %+v, %v", o, err)
	}
	eventually(t, "the session gives up", func() bool {
		clock.Step(10 * time.Second)
		return !s.Status().Connected
	})
	wire.Thaw()
	eventually(t, "the session is back", func() bool {
		clock.Step(10 * time.Second)
		return s.Status().Connected
	})
	if o, err := s.Observe(t.Context(), id); err != nil || o.Existence != platform.Absent {
		t.Errorf("Observe: %+v, %v", o, err)
	}
}

// A libvirtd that was killed at a bad moment waits for a QEMU that it never gets on with. As long as the guest has not run,
// another QEMU takes its place.
func testStuckBeforeFirstRun(t *testing.T, l *lab) {
	t.Helper()
	p := newProxy(t, l.host.Socket)
	s := l.open(t, p, nil)
	request := l.request(t, s)
	p.cutBefore = wire.DomainSetMetadata
	if _, err := s.Ensure(t.Context(), request); !errors.Is(err, platform.ErrUnreachable) {
		t.Fatalf("the wire was not cut: %v", err)
	}
	stuck := l.qemu(t, request.UUID)
	if err := syscall.Kill(stuck, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		waits <- l.admin.DomainSendKey(l.domain(t, request.UUID), uint32(golibvirt.KeycodeSetLinux), 0, []uint32{28}, 0)
	}()
	p.Restore()
	var seen platform.Observation
	eventually(t, "the instance runs", func() (runs bool) {
		var err error
		seen, err = s.Ensure(t.Context(), request)
		return err == nil && seen.Started
	})
	if seen.Power != platform.PowerOn || l.qemu(t, request.UUID) == stuck {
		t.Errorf("%+v, in process %d, and %d was stuck", seen, l.qemu(t, request.UUID), stuck)
	}
	if err := <-waits; err == nil {
		t.Error("QEMU was not stuck: the test proves nothing")
	}
}

func testFrozenWhileCopying(t *testing.T, l *lab) {
	t.Helper()
	wire := newProxy(t, l.host.Socket)
	clock := clocktesting.NewFakeClock(time.Now())
	s := l.open(t, wire, func(c *libvirt.Config) { c.Clock = clock })
	disk := bytes.Repeat([]byte("w"), 4<<20)
	image := l.artefact(t, disk, "raw")
	source, release := drip(t, disk)
	image.Source = source
	before := l.Inventory(t)
	eventually(t, "half of the disk is copied", func() bool {
		o, err := s.EnsureImage(t.Context(), image)
		return err == nil && o.BytesDone == image.SizeBytes/2
	})
	wire.Freeze()
	release()
	var failure error
	eventually(t, "the copy is given up", func() bool {
		clock.Step(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, failure = s.EnsureImage(ctx, image)
		return failure != nil && strings.Contains(failure.Error(), "has stopped answering")
	})
	if !errors.Is(failure, platform.ErrUnreachable) {
		t.Errorf("got %v, want %q", failure, platform.ErrUnreachable)
	}
	wire.Thaw()
	eventually(t, "the image is copied", func() bool {
		clock.Step(10 * time.Second)
		o, err := s.EnsureImage(t.Context(), image)
		return err == nil && o.Ready
	})
	if n := len(l.Inventory(t)) - len(before); n != 2 {
		t.Errorf("%d things were added to the pool, want a copy and its seal: %v", n, l.Inventory(t))
	}
	if err := s.ReleaseImage(t.Context(), image.ImageIdentity); err != nil {
		t.Error(err)
	}
}

// A session to a host that is not there opens, says why it is not connected, and ends at once when it is closed.
func TestNobodyListens(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "nobody")
	s, err := libvirt.Open(t.Context(), libvirt.Config{URI: "qemu:///system?socket=" + socket, Acceleration: libvirt.KVM}, func(platform.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context()); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("Check: %v", err)
	}
	if status := s.Status(); status.Connected || !errors.Is(status.Err, platform.ErrUnreachable) {
		t.Errorf("Status: %+v", status)
	}
	s.Close()
	for _, config := range []libvirt.Config{{URI: "qemu:///system"}, {URI: "vbox:///system", Acceleration: libvirt.KVM}} {
		if _, err := libvirt.Open(t.Context(), config, nil); !errors.Is(err, platform.ErrInvalid) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
