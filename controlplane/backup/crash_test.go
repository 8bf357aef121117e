// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

// wire is a server that is compatible with S3, at which a manager dies.
type wire struct {
	http.Handler

	writes atomic.Int32
	// dies is called before and after each write, and says whether the manager has died.
	dies func(write int32, done bool) bool
}

func (w *wire) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	if in.Method == http.MethodGet || in.Method == http.MethodHead {
		w.Handler.ServeHTTP(out, in)
		return
	}
	n := w.writes.Add(1)
	if w.dies(n, false) {
		out.WriteHeader(http.StatusForbidden) // nothing has happened, and nobody reads this
		return
	}
	answer := httptest.NewRecorder()
	w.Handler.ServeHTTP(answer, in)
	if w.dies(n, true) {
		return
	}
	maps.Copy(out.Header(), answer.Header())
	out.WriteHeader(answer.Code)
	_, _ = out.Write(answer.Body.Bytes())
}

// A manager is killed before and after everything that it writes to a location, and the next one goes on a day later: there
// is exactly one snapshot more that was made for the rollout, as many as are kept, and nothing else.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		crashes := 0
		for ; crashes < 20; crashes++ {
			if !crash(t, int32(crashes+1), done) {
				break
			}
		}
		if crashes != 4 { // file, manifest, and both of the oldest
			t.Errorf("there were %d points to die at", crashes)
		}
	}
}

// crash returns whether the manager has died.
func crash(t *testing.T, at int32, done bool) (died bool) {
	t.Helper()
	l := newLab(t)
	l.clock.SetTime(time.Now())
	bucket := s3mem.New()
	if err := bucket.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	w := &wire{Handler: gofakes3.New(bucket).Server(), dies: func(int32, bool) bool { return false }}
	server := httptest.NewServer(w)
	defer server.Close()
	r := l.request()
	r.Keep = 2
	r.Location = store.Location{
		URL:         "s3://backups/prod?pathStyle=true&endpoint=" + server.URL,
		Credentials: map[string][]byte{store.AccessKeyID: []byte("id"), store.SecretAccessKey: []byte("key")},
	}
	for i := range 2 {
		before := r
		before.For = fmt.Sprint("before-", i)
		l.done(l.await(demo, before))
		l.clock.SetTime(l.clock.Now().Add(time.Minute))
	}
	w.writes.Store(0)
	w.dies = func(write int32, isDone bool) bool {
		if write == at && isDone == done {
			died = true
			l.stop()
		}
		return died
	}
	l.Ensure(demo, r)
	<-l.ended
	l.stop()
	l.Wait()
	l.scratchIsEmpty()

	w.dies = func(int32, bool) bool { return false }
	l.clock.SetTime(l.clock.Now().Add(25 * time.Hour))
	l.begin()
	if end := l.done(l.await(demo, r)); len(end.Warnings) > 0 {
		t.Errorf("after dying at write %d (done: %v) there are warnings: %v", at, done, end.Warnings)
	}
	s, err := store.Open(t.Context(), r.Location, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	listing, err := s.List(t.Context(), store.Cluster{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := bucket.ListBucket("backups", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	if len(listing.Manifests) != 2 || listing.Manifests[0].For != "rollout" || listing.Manifests[1].For != "before-1" || len(objects.Contents) != 4 {
		t.Errorf("after dying at write %d (done: %v) there are %d objects, and %+v", at, done, len(objects.Contents), listing.Manifests)
	}
	return died
}

// A location that keeps what it has, whatever it is told, is no reason to do without a backup.
func TestLocationThatForbidsRemoval(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	bucket := s3mem.New()
	if err := bucket.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	kept := gofakes3.New(bucket).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		kept.ServeHTTP(w, r)
	}))
	defer server.Close()
	r := l.request()
	r.Keep = 1
	r.Location = store.Location{
		URL:         "s3://backups?pathStyle=true&endpoint=" + server.URL,
		Credentials: map[string][]byte{store.AccessKeyID: []byte("id"), store.SecretAccessKey: []byte("key")},
	}
	var done backup.Done
	for _, purpose := range []string{"first", "second"} {
		r.For = purpose
		l.clock.SetTime(l.clock.Now().Add(time.Hour))
		done = l.done(l.await(demo, r))
	}
	if done.Manifest.For != "second" || len(done.Warnings) != 1 {
		t.Errorf("%+v", done)
	}
}
