// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// What the contract says of images holds for those that are imported as well, and after a crash at any point of an import.
func TestImportConformance(t *testing.T) {
	t.Parallel()
	platformtest.RunImages(t, &importLab{lab: newLab(t)})
}

// stored ensures an image until it is ready, whatever hinders it meanwhile.
func stored(t *testing.T, p platform.Platform, image platform.ImageRequest) {
	t.Helper()
	until(t, "the image is there", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		if err != nil {
			t.Log(err)
		}
		return o.Ready
	})
}

// released releases an image until nothing is left, whatever hinders it meanwhile.
func released(t *testing.T, p platform.Platform, image platform.ImageRequest) {
	t.Helper()
	until(t, "the image is gone", func() bool {
		err := p.ReleaseImage(t.Context(), image.ImageIdentity)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
}

// copies are the virtual machines and templates that were made for images.
func (l *lab) copies(t *testing.T) []vcenter.Machine {
	t.Helper()
	all, err := l.Machines(t.Context())
	check(t, err)
	var found []vcenter.Machine
	for _, m := range all {
		if strings.HasPrefix(m.Name, "ingot-image-") || strings.HasPrefix(m.Name, "ingot-import-") {
			found = append(found, m)
		}
	}
	return found
}

// onlyCopy is the one copy, which is a template.
func (l *lab) onlyCopy(t *testing.T) vcenter.Machine {
	t.Helper()
	found := l.copies(t)
	if len(found) != 1 || !found[0].Template || !strings.HasPrefix(found[0].Name, "ingot-image-") {
		t.Fatalf("want one template, there is %+v", found)
	}
	return found[0]
}

func (l *lab) onStorage(image platform.ImageRequest) platform.ImageRequest {
	image.Storage = l.Storage()
	return image
}

// A template is the least that can hold the disk, says what it was made from, and is not told from its name what it is.
func TestImportedTemplate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	image := l.onStorage(published(t, "ova", ova.Package(), nil))
	begin := time.Now()
	stored(t, p, image)
	sum, lines := 0, []string{}
	for method, n := range d.Calls() {
		if method != "WaitForUpdatesEx" {
			sum += n
			lines = append(lines, fmt.Sprintf("%d %s", n, method))
		}
	}
	slices.Sort(lines)
	t.Logf("an import with its login takes %d round trips and %s: %s", sum, time.Since(begin).Round(time.Millisecond), strings.Join(lines, ", "))
	m := l.onlyCopy(t)
	if len(m.Disks) != 1 || m.Disks[0] != ova.Capacity || len(m.Networks) != 0 {
		t.Errorf("disks %v, networks %v; want one disk of %d bytes", m.Disks, m.Networks, ova.Capacity)
	}
	if m.Extra["ingot.image.sha256"] != image.SHA256 || m.Extra["ingot.importOf"] != "" {
		t.Errorf("it says %v", m.Extra)
	}
	released(t, p, image)
	if left := l.copies(t); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// Every call that an import is made of, and the way of the disk itself, may fail once, have its answer lost once, and meet a
// vCenter that has ended all sessions. There is always one template in the end, and nothing beside it.
func TestImportEveryMethodFailsOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	before := l.Inventory(t)
	image := l.onStorage(published(t, "ova", ova.Package(), nil))
	stored(t, p, image)
	released(t, p, image)
	methods := d.Calls()
	methods["HttpNfcLeaseAbort"] = 0
	for _, verdict := range []vcenter.Verdict{vcenter.Drop, vcenter.Lose, vcenter.Expire} {
		for method := range methods {
			t.Run(verdict.String()+" "+method, func(t *testing.T) {
				image := l.onStorage(published(t, "vmdk", ova.Disk(), nil))
				var mu sync.Mutex
				fails := map[string]bool{method: true}
				if method == "HttpNfcLeaseAbort" { // which only an upload that has failed asks for
					fails[vcenter.Upload] = true
				}
				d.Judge(func(m string) vcenter.Verdict {
					mu.Lock()
					defer mu.Unlock()
					if !fails[m] {
						return vcenter.Pass
					}
					delete(fails, m)
					return verdict
				})
				stored(t, p, image)
				l.onlyCopy(t)
				mu.Lock()
				fails = map[string]bool{method: true}
				mu.Unlock()
				released(t, p, image)
				d.Judge(nil)
				if after := l.Inventory(t); !slices.Equal(before, after) {
					t.Errorf("the endpoint has changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
				}
			})
		}
	}
	if n, err := l.Sessions(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions with vCenter are open, want one (%v)", n, err)
	}
}

// halfway begins an import and returns when half of its artefact was read.
func halfway(t *testing.T, p platform.Platform, image platform.ImageRequest) {
	t.Helper()
	until(t, "half of the artefact is read", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		check(t, err)
		if o.Ready || o.BytesDone > image.SizeBytes {
			t.Fatalf("%+v", o)
		}
		return o.BytesDone >= image.SizeBytes/2
	})
}

// fails ensures an image until it fails, and wants to read why.
func fails(t *testing.T, p platform.Platform, image platform.ImageRequest, want error) {
	t.Helper()
	until(t, "the import fails", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		if o.Ready || err != nil && !errors.Is(err, want) {
			t.Fatalf("%+v, %v; want %v", o, err, want)
		}
		return err != nil
	})
}

// A source may be taken away while it is read, and come back.
func TestImportSourceBreaksOff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	before := l.Inventory(t)
	artefact := ova.Package()
	var mu sync.Mutex
	asked := 0
	image := l.onStorage(published(t, "ova", artefact, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		asked++
		n := asked
		mu.Unlock()
		switch n {
		case 1:
			w.Header().Set("Content-Length", strconv.Itoa(len(artefact)))
			_, _ = w.Write(artefact[:len(artefact)/2])
		case 2:
			http.Error(w, "it was removed", http.StatusGone)
		default:
			_, _ = w.Write(artefact)
		}
	}))
	fails(t, p, image, platform.ErrSource)
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something is left:\n%s", strings.Join(after, "\n"))
	}
	stored(t, p, image)
	l.onlyCopy(t)
}

// vCenter may end all sessions while a disk is on its way.
func TestImportSessionEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	artefact := ova.Package()
	serve, release := ova.Drip(artefact)
	image := l.onStorage(published(t, "ova", artefact, serve))
	halfway(t, p, image)
	check(t, l.EndSessions(t.Context()))
	release()
	stored(t, p, image)
	l.onlyCopy(t)
	released(t, p, image)
	if left := l.copies(t); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// A lease lives as long as vCenter hears that the disk is still being sent. When it does not hear it, the import ends, and
// another one succeeds.
func TestImportLease(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.ShortLeases(2 * time.Second)
	d := l.door(t)
	p := fresh(t, d)
	slow := func(t *testing.T) (image platform.ImageRequest, release func()) {
		t.Helper()
		artefact := ova.Package()
		serve, release := ova.Drip(artefact)
		return l.onStorage(published(t, "ova", artefact, serve)), release
	}
	t.Run("is kept alive", func(t *testing.T) {
		image, release := slow(t)
		halfway(t, p, image)
		time.Sleep(5 * time.Second)
		release()
		until(t, "the image is there", func() bool {
			o, err := p.EnsureImage(t.Context(), image)
			check(t, err)
			return o.Ready
		})
		l.onlyCopy(t)
		released(t, p, image)
	})
	t.Run("ends", func(t *testing.T) {
		image, release := slow(t)
		defer release()
		halfway(t, p, image)
		d.Judge(func(method string) vcenter.Verdict {
			if method == "HttpNfcLeaseProgress" {
				return vcenter.Drop
			}
			return vcenter.Pass
		})
		fails(t, p, image, platform.ErrUnreachable)
		d.Judge(nil)
		if left := l.copies(t); len(left) != 0 {
			t.Errorf("%+v is left", left)
		}
		again := image
		again.Source = published(t, "ova", nil, nil).Source
		fails(t, p, again, platform.ErrDigestMismatch)
	})
}

// A manager that is stopped takes its half import with it; one that is killed leaves it to the next.
func TestImportManagerEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	before := l.Inventory(t)
	artefact := ova.Package()
	serve, release := ova.Drip(artefact)
	defer release()
	image := l.onStorage(published(t, "ova", artefact, serve))
	d := l.door(t)
	p := fresh(t, d)
	halfway(t, p, image)
	p.Close()
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something is left:\n%s", strings.Join(after, "\n"))
	}
	p = fresh(t, d)
	halfway(t, p, image)
	d.Shut() // and never answers this one again
	successor := fresh(t, l.door(t))
	whole := image
	whole.Source = l.onStorage(published(t, "ova", artefact, nil)).Source
	if n := len(l.copies(t)); n != 1 {
		t.Errorf("%d half imports, want the one of the manager that was killed", n)
	}
	stored(t, successor, whole)
	l.onlyCopy(t)
	released(t, successor, whole)
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("something is left:\n%s", strings.Join(after, "\n"))
	}
}

// A vCenter that does not answer any more must not keep the manager from closing its session: other endpoints wait for that.
func TestImportCloseWithoutAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	artefact := ova.Package()
	serve, release := ova.Drip(artefact)
	defer release()
	halfway(t, p, l.onStorage(published(t, "ova", artefact, serve)))
	d.Judge(func(string) vcenter.Verdict { return vcenter.Hang })
	begin := time.Now()
	p.Close()
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// An import that has its name is complete, whatever became of the answer: gigabytes are not read twice for that.
func TestImportNameAnswerLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	image := l.onStorage(published(t, "vmdk", ova.Disk(), nil))
	var lost atomic.Bool
	d.Judge(func(method string) vcenter.Verdict {
		if method == "Rename_Task" && !lost.Swap(true) {
			return vcenter.Lose
		}
		return vcenter.Pass
	})
	stored(t, p, image)
	l.onlyCopy(t)
	if n := d.Calls()[vcenter.Upload]; n != 1 || !lost.Load() {
		t.Errorf("the disk was sent %d times, want once", n)
	}
}

// What has the name of the copy and is somebody else's is not touched, nor is it taken for the copy.
func TestImportNameTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	image := l.onStorage(published(t, "vmdk", ova.Disk(), nil))
	stored(t, p, image)
	name := l.onlyCopy(t).Name
	released(t, p, image)
	theirs := uuid.NewString()
	l.make(t, vcenter.Spec{Name: "x", UUID: theirs, DiskBytes: 1 << 20})
	check(t, l.VCenter.Rename(t.Context(), theirs, name))
	before := l.Inventory(t)
	fails(t, p, image, platform.ErrInvalid)
	if err := p.ReleaseImage(t.Context(), image.ImageIdentity); err != nil {
		t.Error(err)
	}
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("the endpoint has changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// Hosts are patched one after another, and nothing is made on one meanwhile. Where none is left, it is told what to do.
func TestImportHostsInMaintenance(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	image := l.onStorage(published(t, "vmdk", ova.Disk(), nil))
	end, err := l.Maintain(t.Context())
	check(t, err)
	until(t, "it is told", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		if o.Ready || err != nil && !strings.Contains(err.Error(), "out of maintenance mode: bring one back") {
			t.Fatalf("%+v, %v", o, err)
		}
		return err != nil
	})
	check(t, end())
	stored(t, p, image)
	l.onlyCopy(t)
}

// A template that a person has removed is imported again, and one that the session may not see is not said to be gone.
func TestImportDisappears(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	image := l.onStorage(published(t, "ova", ova.Package(), nil))
	stored(t, p, image)
	all, err := l.Machines(t.Context())
	check(t, err)
	id := ""
	for candidate, m := range all {
		if strings.HasPrefix(m.Name, "ingot-image-") {
			id = candidate
		}
	}
	check(t, l.Destroy(t.Context(), id))
	stored(t, p, image)
	l.onlyCopy(t)

	show, err := d.Hide(t.Context(), id, vcenter.Datacenter+"/vm")
	check(t, err)
	if err := p.ReleaseImage(t.Context(), image.ImageIdentity); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("a copy that may not be seen: got %v, want %v", err, platform.ErrUnreachable)
	}
	show()
	l.onlyCopy(t)
	released(t, p, image)
	if left := l.copies(t); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// pattern is content that is made while it is read: a disk of any size that is nowhere.
type pattern struct{ left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.left))
	for i := range b[:n] {
		b[i] = byte(i)
	}
	p.left -= int64(n)
	return n, nil
}

// An image is much larger than the memory of a manager. The bound is that of the whole test process, the simulator and the
// source in it.
func TestImportMemory(t *testing.T) {
	const size, bound = 256 << 20, 24 << 20
	l := newLab(t)
	p := fresh(t, l.door(t))
	disk := func() io.Reader {
		head := ova.Head(ova.Capacity)
		return io.MultiReader(strings.NewReader(string(head)), &pattern{left: size - int64(len(head))})
	}
	// The reads must be cut alike for the same bytes: what is written depends on the position in a buffer.
	write := func(w io.Writer) {
		buffer, from := make([]byte, 32<<10), disk()
		for {
			n, err := from.Read(buffer)
			_, _ = w.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}
	sum := sha256.New()
	write(sum)
	image := l.onStorage(published(t, "vmdk", nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		write(w)
	}))
	image.SHA256, image.SizeBytes = hex.EncodeToString(sum.Sum(nil)), size
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	before, peak := heap(), uint64(0)
	until(t, "the image is there", func() bool {
		o, err := p.EnsureImage(t.Context(), image)
		check(t, err)
		peak = max(peak, heap())
		return o.Ready
	})
	more := int64(peak) - int64(before)
	t.Logf("%d MiB were imported with %d KiB more of heap at the peak", size>>20, more>>10)
	if more > bound {
		t.Errorf("the heap has grown by %d MiB, want at most %d", more>>20, bound>>20)
	}
	released(t, p, image)
}
