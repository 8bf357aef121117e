// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// request returns a request for a machine from a stored raw image, which is removed with the test.
func (l *lab) request(t *testing.T, p platform.Platform) platform.Request {
	t.Helper()
	disk := make([]byte, 1<<20)
	copy(disk, uuid.NewString())
	image := l.artefact(t, disk, "raw")
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
	return l.requestFor(t, p, image)
}

// requestFor returns a request for a machine from an image. Both are removed with the test.
func (l *lab) requestFor(t *testing.T, p platform.Platform, image platform.ImageRequest) platform.Request {
	t.Helper()
	t.Cleanup(func() {
		if err := p.ReleaseImage(context.WithoutCancel(t.Context()), image.ImageIdentity); err != nil {
			t.Errorf("ReleaseImage: %v", err)
		}
	})
	return l.oneOf(t, p, image)
}

// oneOf returns a request for one of several machines from an image. The machine is removed with the test.
func (l *lab) oneOf(t *testing.T, p platform.Platform, image platform.ImageRequest) platform.Request {
	t.Helper()
	req := platform.Request{
		Identity:    platform.Identity{UUID: uuid.NewString(), ManagementClusterID: "mc", Storage: image.Storage},
		Name:        "host-test",
		ImageSHA256: image.SHA256,
		CPUs:        1,
		MemoryBytes: 64 << 20,
		Interfaces:  []platform.Interface{{Network: l.host.Network}},
		Firmware:    platform.FirmwareUEFI,
		Bootstrap: platform.Bootstrap{
			Data: []byte("secret-" + uuid.NewString()), Channels: []delivery.Channel{{Kind: delivery.FWCfg, Key: "opt/com.coreos/config"}},
		},
	}
	t.Cleanup(func() {
		if o, err := p.Release(context.WithoutCancel(t.Context()), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
			t.Errorf("Release: %+v, %v", o, err)
		}
	})
	return req
}

// artefact writes a disk and declares it.
func (l *lab) artefact(t *testing.T, disk []byte, format string) platform.ImageRequest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(disk)
	return platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: hex.EncodeToString(sum[:]), Storage: l.host.Pool},
		Source:        (&url.URL{Scheme: "file", Path: path}).String(),
		Format:        format,
		SizeBytes:     int64(len(disk)),
	}
}

// store copies an image to its end.
func store(ctx context.Context, p platform.Platform, image platform.ImageRequest) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		o, err := p.EnsureImage(ctx, image)
		if o.Ready || err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func run(t *testing.T, p platform.Platform, req platform.Request) platform.Observation {
	t.Helper()
	o, err := p.Ensure(t.Context(), req)
	if err != nil || o.Power != platform.PowerOn {
		t.Fatalf("Ensure: %+v, %v", o, err)
	}
	return o
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
	}
}

// holding returns the files of the hypervisor that hold a text.
func (l *lab) holding(t *testing.T, text []byte) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(l.options.StateDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, text) {
				files = append(files, path)
			}
		}
		return nil // files of running daemons come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func testNothingLeft(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	o := run(t, p, req)
	for _, part := range []string{".0", ".1"} { // as virtlogd leaves them
		if err := os.WriteFile(o.ConsoleLog+part, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.named(t, req)) == 0 {
		t.Fatal("nothing is there to begin with")
	}
	if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
		t.Fatalf("Release: %+v, %v", o, err)
	}
	if files := l.named(t, req); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// named returns the files of the hypervisor that are named after a machine, but QEMU's log, which libvirt keeps.
func (l *lab) named(t *testing.T, req platform.Request) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(l.options.StateDir, func(path string, _ fs.DirEntry, _ error) error {
		base := filepath.Base(path)
		ours := strings.Contains(base, req.UUID) || strings.Contains(base, libvirt.DomainName(req.Identity, req.Name))
		if ours && !strings.Contains(path, "/log/") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func testNameTaken(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	l.define(t, libvirt.DomainName(req.Identity, req.Name), uuid.NewString())
	before := l.Inventory(t)
	_, err := p.Ensure(t.Context(), req)
	if !errors.Is(err, platform.ErrForeign) {
		t.Errorf("got %v, want %q", err, platform.ErrForeign)
	}
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something was changed: %v, was %v", after, before)
	}
}

func testVolumeTaken(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	other := req.Identity
	other.ManagementClusterID = "another"
	l.volume(t, libvirt.VolumeNames(other)[0])
	before := l.Inventory(t)
	_, err := p.Ensure(t.Context(), req)
	if !errors.Is(err, platform.ErrForeign) {
		t.Errorf("got %v, want %q", err, platform.ErrForeign)
	}
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something was changed: %v, was %v", after, before)
	}
}

// volume makes a volume by hand. It is removed with the test if it is still there.
func (l *lab) volume(t *testing.T, name string) (path string) {
	t.Helper()
	v, err := l.admin.StorageVolCreateXML(l.pool(t), "<volume><name>"+name+"</name><capacity>4096</capacity></volume>", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.admin.StorageVolDelete(v, 0) })
	return filepath.Join(l.host.PoolPath, name)
}

func (l *lab) pool(t *testing.T) golibvirt.StoragePool {
	t.Helper()
	pool, err := l.admin.StoragePoolLookupByName(l.host.Pool)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func testPoolInactive(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	if err := l.admin.StoragePoolDestroy(l.pool(t)); err != nil {
		t.Fatal(err)
	}
	_, ensure := p.Ensure(t.Context(), req)
	o, observe := p.Observe(t.Context(), req.Identity)
	_, release := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity})
	image := p.ReleaseImage(t.Context(), platform.ImageIdentity{SHA256: req.ImageSHA256, Storage: l.host.Pool})
	if err := l.admin.StoragePoolCreate(l.pool(t), 0); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{ensure, observe, release, image} {
		if !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "pool-start") {
			t.Errorf("got %v, want %q with the remedy", err, platform.ErrUnreachable)
		}
	}
	if o.Existence != platform.Unknown {
		t.Errorf("Observe claims to know %+v", o)
	}
	run(t, p, req)
}

func testAddresses(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	if o := run(t, p, req); len(o.Addresses) != 0 {
		t.Errorf("a guest without an operating system has %v", o.Addresses)
	}
	l.lend(t, "virbr0", libvirt.MAC(req.Identity, 0), l.host.DHCPFirst.String())
	o, err := p.Observe(t.Context(), req.Identity)
	if err != nil || !slices.Equal(o.Addresses, []string{l.host.DHCPFirst.String()}) {
		t.Errorf("got %v, %v", o.Addresses, err)
	}
}

// listen opens a session and returns what its events say, as a set.
func (l *lab) listen(t *testing.T) (*libvirt.Session, func() map[platform.Event]bool) {
	t.Helper()
	events := make(chan platform.Event, 1000)
	s, err := libvirt.Open(t.Context(), libvirt.Config{URI: l.host.URI, Acceleration: libvirt.Emulated}, func(e platform.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	seen := map[platform.Event]bool{}
	return s, func() map[platform.Event]bool {
		for {
			select {
			case e := <-events:
				seen[e] = true
			default:
				return seen
			}
		}
	}
}

func testEvents(t *testing.T, l *lab) {
	t.Helper()
	p, events := l.listen(t)
	req := l.request(t, p)
	run(t, p, req)
	for _, want := range []platform.Event{{Session: true}, {ImageSHA256: req.ImageSHA256}, {UUID: req.UUID}} {
		eventually(t, fmt.Sprintf("%+v is told", want), func() bool { return events()[want] })
	}
	clear(events())
	l.PowerOff(t, req.UUID)
	eventually(t, "the end of the guest is told", func() bool { return events()[platform.Event{UUID: req.UUID}] })
}

func testRestart(t *testing.T, l *lab) {
	t.Helper()
	p, events := l.listen(t)
	req := l.request(t, p)
	run(t, p, req)
	version, err := p.Check(t.Context())
	if err != nil || !strings.HasPrefix(version, "libvirt ") {
		t.Errorf("Check: %q, %v", version, err)
	}
	clear(events())
	if err := stopDaemon(t, l); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is noticed", func() bool { return !p.Status().Connected && events()[platform.Event{Session: true}] })
	if _, err := p.Check(t.Context()); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("Check without libvirtd: %v", err)
	}
	if o, err := p.Observe(t.Context(), req.Identity); !errors.Is(err, platform.ErrUnreachable) || o.Existence != platform.Unknown {
		t.Errorf("Observe without libvirtd: %+v, %v", o, err)
	}
	clear(events())
	l.start(t)
	eventually(t, "the session is back", func() bool { return p.Status().Connected && events()[platform.Event{Session: true}] })
	if o := run(t, p, req); !o.Started {
		t.Errorf("after the restart: %+v", o)
	}
	clear(events())
	l.PowerOff(t, req.UUID)
	eventually(t, "events are told again", func() bool { return events()[platform.Event{UUID: req.UUID}] })
}
