// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

var (
	demo  = store.Cluster{Namespace: "team", Name: "demo", UID: "1"}
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later = time.Now().Add(25 * time.Hour)
)

// snapshot is as many bytes that do not compress, and their sum.
func snapshot(size int, seed byte) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
	sum := sha256.Sum256(content)
	return slices.Concat(content, sum[:])
}

// lab is a place with nothing in it.
type lab struct {
	*store.Store
	store.Raw
	*testing.T
}

func (l lab) put(c store.Cluster, at time.Time, content []byte) store.Manifest {
	l.Helper()
	m, err := l.Put(l.Context(), store.Manifest{Cluster: c, Time: at, Rehearsed: at, Revision: 7, For: "rollout"}, bytes.NewReader(content), nil)
	if err != nil {
		l.Fatal(err)
	}
	return m
}

func (l lab) keys() []string {
	l.Helper()
	keys, err := l.Keys(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return keys
}

func (l lab) list(c store.Cluster) store.Listing {
	l.Helper()
	listing, err := l.List(l.Context(), c)
	if err != nil {
		l.Fatal(err)
	}
	return listing
}

func (l lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// conform is what every place must do. open opens an empty one each time.
func conform(t *testing.T, open func(t *testing.T) *store.Store) {
	t.Helper()
	for why, test := range map[string]func(lab){
		"what was stored is found, and comes back as it was":                     testRoundTrip,
		"large snapshots come back as they were":                                 testLarge,
		"one that is not there is not found, and no other name is followed":      testNotFound,
		"clusters whose names begin alike are told apart":                        testClusters,
		"a snapshot that cannot be read to its end leaves nothing":               testBrokenSource,
		"who is told to stop leaves nothing":                                     testCancelled,
		"what was damaged where it is stored is told, and the others still work": testDamage,
		"the newest stay, leftovers go, and what is somebody else's stays":       testTidy,
		"what is removed twice is removed":                                       testRemove,
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			opened := open(t)
			t.Cleanup(func() { _ = opened.Close() })
			test(lab{opened, store.RawOf(opened), t})
		})
	}
}

func testRoundTrip(l lab) {
	content := append(bytes.Repeat([]byte("compressible "), 10000), snapshot(0, 0)...)
	progress := 0
	put, err := l.Put(l.Context(), store.Manifest{Cluster: demo, Time: noon, Revision: 7, TotalKeys: 3, Rehearsed: noon}, bytes.NewReader(content), func(n int) { progress += n })
	l.must(err)
	if progress != len(content) || put.SnapshotBytes != int64(len(content)) || put.SizeBytes >= put.SnapshotBytes/2 {
		l.Errorf("%d bytes of progress, %+v", progress, put)
	}
	if want := []string{put.Name + ".db.zst", put.Name + ".json"}; !slices.Equal(l.keys(), want) || !strings.HasPrefix(put.Name, "team/demo/20260102T120000Z-") {
		l.Errorf("the objects are %v, not %v", l.keys(), want)
	}
	listing := l.list(demo)
	if len(listing.Manifests) != 1 || !reflect.DeepEqual(listing.Manifests[0], put) || listing.Broken != nil {
		l.Errorf("%+v, not %+v", listing, put)
	}
	var got bytes.Buffer
	fetched, err := l.Fetch(l.Context(), put.Name, &got)
	if err != nil || !reflect.DeepEqual(fetched, put) || !bytes.Equal(got.Bytes(), content) {
		l.Errorf("%d bytes, %+v, %v", got.Len(), fetched, err)
	}
	// Without this program: sha256sum and zstd -d.
	file, err := l.Read(l.Context(), put.Name+".db.zst")
	l.must(err)
	decoder, err := zstd.NewReader(nil)
	l.must(err)
	defer decoder.Close()
	plain, err := decoder.DecodeAll(file, nil)
	if sum := sha256.Sum256(file); err != nil || hex.EncodeToString(sum[:]) != put.SHA256 || !bytes.Equal(plain, content) {
		l.Errorf("%d bytes, sum %x, %v", len(plain), sum, err)
	}
}

func testLarge(l lab) {
	content := snapshot(20<<20, 1) // places send it in parts
	put := l.put(demo, noon, content)
	var got bytes.Buffer
	if _, err := l.Fetch(l.Context(), put.Name, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		l.Errorf("%d bytes, %v", got.Len(), err)
	}
}

func testNotFound(l lab) {
	if _, err := l.Fetch(l.Context(), "team/demo/20260102T120000Z-00000000", io.Discard); !errors.Is(err, store.ErrNotFound) {
		l.Errorf("%v", err)
	}
	for _, name := range []string{"", "team/demo", "../demo/20260102T120000Z-00000000", "/etc/passwd", "team/../20260102T120000Z-00000000", "team/demo/x"} {
		if _, err := l.Fetch(l.Context(), name, io.Discard); err == nil || errors.Is(err, store.ErrNotFound) {
			l.Errorf("%q is taken for a name: %v", name, err)
		}
	}
	if _, err := l.Put(l.Context(), store.Manifest{Cluster: store.Cluster{Namespace: "..", Name: "demo"}}, bytes.NewReader(snapshot(10, 0)), nil); err == nil {
		l.Error("it is stored outside")
	}
	if listing := l.list(store.Cluster{}); len(listing.Manifests)+len(listing.Broken) > 0 {
		l.Errorf("%+v", listing)
	}
}

func testClusters(l lab) {
	longer := store.Cluster{Namespace: "team", Name: "demo-2"}
	first, second := l.put(demo, noon, snapshot(100, 1)), l.put(longer, noon.Add(time.Hour), snapshot(100, 2))
	if got := l.list(store.Cluster{Namespace: "team", Name: "demo"}).Manifests; len(got) != 1 || got[0].Name != first.Name {
		l.Errorf("%+v", got)
	}
	if got := l.list(store.Cluster{}).Manifests; len(got) != 2 || got[0].Name != second.Name {
		l.Errorf("not the newest first: %+v", got)
	}
}

// failing fails once some of it was read.
type failing struct {
	*bytes.Reader

	after int
	fail  func() error
}

func (r *failing) Read(p []byte) (int, error) {
	if r.after <= 0 {
		if err := r.fail(); err != nil {
			return 0, err
		}
	}
	n, err := r.Reader.Read(p[:min(len(p), 64<<10)])
	r.after -= n
	return n, err
}

func testBrokenSource(l lab) {
	broken := errors.New("the disk is broken")
	source := &failing{Reader: bytes.NewReader(snapshot(20<<20, 1)), after: 12 << 20, fail: func() error { return broken }}
	if _, err := l.Put(l.Context(), store.Manifest{Cluster: demo, Time: noon}, source, nil); !errors.Is(err, broken) {
		l.Errorf("%v", err)
	}
	if keys := l.keys(); len(keys) > 0 {
		l.Errorf("%v is left", keys)
	}
}

func testCancelled(l lab) {
	ctx, cancel := context.WithCancel(l.Context())
	source := &failing{Reader: bytes.NewReader(snapshot(20<<20, 1)), after: 12 << 20, fail: func() error { cancel(); return nil }}
	if _, err := l.Put(ctx, store.Manifest{Cluster: demo, Time: noon}, source, nil); err == nil || ctx.Err() == nil {
		l.Errorf("%v", err)
	}
	if keys := l.keys(); len(keys) > 0 {
		l.Errorf("%v is left", keys)
	}
}

func testDamage(l lab) {
	whole := l.put(demo, noon, snapshot(1000, 1))
	damage := map[string]func(store.Manifest){
		"turned": func(m store.Manifest) {
			l.rewrite(m.Name+".db.zst", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"cut off": func(m store.Manifest) { l.rewrite(m.Name+".db.zst", func(b []byte) []byte { return b[:len(b)/2] }) },
		"gone":    func(m store.Manifest) { l.must(l.Remove(l.Context(), m.Name+".db.zst")) },
		"no JSON": func(m store.Manifest) { l.rewrite(m.Name+".json", func([]byte) []byte { return nil }) },
		"of another": func(m store.Manifest) {
			l.rewrite(m.Name+".json", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("team/"), []byte("else/")) })
		},
	}
	at := noon
	for why, do := range damage {
		at = at.Add(time.Hour)
		m := l.put(demo, at, snapshot(1000, byte(at.Hour())))
		do(m)
		if _, err := l.Fetch(l.Context(), m.Name, io.Discard); err == nil || !strings.Contains(err.Error(), m.Name) {
			l.Errorf("one that is %s is fetched: %v", why, err)
		}
	}
	listing := l.list(demo)
	if len(listing.Broken) != 4 || len(listing.Manifests) != 2 { // a turned bit is seen by reading only
		l.Errorf("%d are listed, %v", len(listing.Manifests), listing.Broken)
	}
	before := l.keys()
	l.must(l.Tidy(l.Context(), listing, 5, later))
	if !slices.Equal(before, l.keys()) {
		l.Errorf("what is broken is removed: %v, not %v", l.keys(), before)
	}
	if _, err := l.Fetch(l.Context(), whole.Name, io.Discard); err != nil {
		l.Error(err)
	}
}

func (l lab) rewrite(key string, change func([]byte) []byte) {
	l.Helper()
	content, err := l.Read(l.Context(), key)
	l.must(err)
	l.must(l.Write(l.Context(), key, change(content)))
}

// Remove is that of Raw: a Store removes snapshots only.
func (l lab) Remove(ctx context.Context, key string) error { return l.Raw.Remove(ctx, key) }

func testTidy(l lab) {
	var all []store.Manifest
	for i := range 4 {
		all = append(all, l.put(demo, noon.Add(time.Duration(i)*time.Hour), snapshot(100, byte(i))))
	}
	leftover := "team/demo/20260101T000000Z-0123abcd.db.zst"
	foreign := []string{"team/demo/README", "team/demo/mine.db", "team/demo/20260101T000000Z-0123abcd.txt"}
	for _, key := range append(foreign, leftover) {
		l.must(l.Write(l.Context(), key, []byte("x")))
	}
	l.must(l.Tidy(l.Context(), l.list(demo), 2, time.Now().Add(time.Hour)))
	want := slices.Clone(foreign)
	for _, m := range all[2:] {
		want = append(want, m.Name+".json", path.Join(path.Dir(m.Name), m.File))
	}
	slices.Sort(want)
	if got := slices.DeleteFunc(l.keys(), func(key string) bool { return key == leftover }); !slices.Equal(got, want) || len(l.keys()) == len(got) {
		l.Errorf("an hour later there are %v, not %v and what may be in progress", l.keys(), want)
	}
	l.must(l.Tidy(l.Context(), l.list(demo), 2, later))
	if got := l.keys(); !slices.Equal(got, want) {
		l.Errorf("a day later there are %v, not %v", got, want)
	}
}

func testRemove(l lab) {
	m := l.put(demo, noon, snapshot(100, 1))
	for range 2 { // another manager may have
		l.must(l.Store.Remove(l.Context(), m))
	}
	if keys := l.keys(); len(keys) > 0 {
		l.Errorf("%v is left", keys)
	}
}
