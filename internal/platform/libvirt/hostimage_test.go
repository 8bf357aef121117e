// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

func testQCOW2(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	const virtual = 64 << 20
	dir := t.TempDir()
	disk := qemuImg(t, filepath.Join(dir, "disk"), "create", "-q", "-f", "qcow2", filepath.Join(dir, "disk"), strconv.Itoa(virtual))
	image := l.artefact(t, disk, "qcow2")
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
	req := l.requestFor(t, p, image)
	req.RootDiskBytes = virtual - 1<<20
	if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrInvalid) {
		t.Errorf("a root disk below the image: %v", err)
	}
	req.RootDiskBytes = 0
	run(t, p, req)
	root := filepath.Join(l.host.PoolPath, libvirt.VolumeNames(req.Identity)[0])
	info, err := exec.CommandContext(t.Context(), "qemu-img", "info", "-U", "--output=json", root).Output()
	if err != nil || !bytes.Contains(info, fmt.Appendf(nil, "\"virtual-size\": %d", virtual)) {
		t.Errorf("the root disk is %s, %v", info, err)
	}

	spy := qemuImg(t, filepath.Join(dir, "spy"), "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", filepath.Join(dir, "spy"))
	if err := store(t.Context(), p, l.artefact(t, spy, "qcow2")); !errors.Is(err, platform.ErrInvalid) {
		t.Errorf("an image over a file of the host: %v", err)
	}
	if err := store(t.Context(), p, l.artefact(t, []byte("short"), "qcow2")); !errors.Is(err, platform.ErrInvalid) {
		t.Errorf("an image that is no disk: %v", err)
	}
	wrong := l.artefact(t, []byte("short"), "qcow2")
	wrong.SHA256 = strings.Repeat("ab", 32)
	if err := store(t.Context(), p, wrong); !errors.Is(err, platform.ErrDigestMismatch) {
		t.Errorf("wrong bytes that are no disk either: %v", err)
	}
}

// qemuImg runs qemu-img and returns the file that it made.
func qemuImg(t *testing.T, file string, args ...string) []byte {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testPowerLoss(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	copies, err := filepath.Glob(filepath.Join(l.host.PoolPath, "ingot-image-"+req.ImageSHA256+"-*.raw"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies %v, %v", copies, err)
	}
	if err := os.Truncate(copies[0], 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrImageNotReady) {
		t.Errorf("a machine from half an image: %v", err)
	}
}

func testLeftovers(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	stem := "ingot-image-" + req.ImageSHA256
	old, fresh, orphan := l.volume(t, stem+"-0a.raw"), l.volume(t, stem+"-0b.qcow2"), l.volume(t, stem+"-0c.raw.verified")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	image := platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: req.ImageSHA256, Storage: l.host.Pool}, Source: "file:///gone", Format: "raw", SizeBytes: 1 << 20,
	}
	if o, err := p.EnsureImage(t.Context(), image); err != nil || !o.Ready {
		t.Errorf("EnsureImage: %+v, %v", o, err)
	}
	for path, want := range map[string]bool{old: false, orphan: false, fresh: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %t", filepath.Base(path), err, want)
		}
	}
}

// drip serves a disk slowly until it is released.
func drip(t *testing.T, disk []byte) (address string, release func()) {
	t.Helper()
	gate := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(disk[:len(disk)/2])
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		_, _ = w.Write(disk[len(disk)/2:])
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { close(gate) }
}

func testClosedWhileCopying(t *testing.T, l *lab) {
	t.Helper()
	disk := bytes.Repeat([]byte("x"), 4<<20)
	image := l.artefact(t, disk, "raw")
	image.Source, _ = drip(t, disk)
	before := l.Inventory(t)
	p := l.open(t, newProxy(t, l.host.Socket), nil)
	if _, err := p.EnsureImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	eventually(t, "half of the disk is copied", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		return err == nil && o.BytesDone >= image.SizeBytes/2
	})
	p.Close()
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something was left: %v, was %v", after, before)
	}
}

func testProgress(t *testing.T, l *lab) {
	t.Helper()
	disk := bytes.Repeat([]byte("y"), 4<<20)
	image := l.artefact(t, disk, "raw")
	source, release := drip(t, disk)
	image.Source = source
	p := l.Session(t)
	l.requestFor(t, p, image)
	eventually(t, "half of the disk is copied", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		return err == nil && o.BytesDone == image.SizeBytes/2 && !o.Ready
	})
	release()
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
}
