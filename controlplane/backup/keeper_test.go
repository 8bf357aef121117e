// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
)

// fakeEtcd gives a snapshot of nothing in particular, and stops where a test wants it to.
type fakeEtcd struct {
	// at is called at "snapshot", "hash" and "rehearsal", and what it returns is what happens there.
	at func(ctx context.Context, where string) error

	mu    sync.Mutex
	taken int
	hash  etcd.Hash
}

func newFakeEtcd() *fakeEtcd {
	return &fakeEtcd{
		at:   func(context.Context, string) error { return nil },
		hash: etcd.Hash{Node: "node-1", Version: "3.6.8", Value: 0xabcd, Revision: 42, CompactRevision: 7},
	}
}

func (f *fakeEtcd) Snapshot(ctx context.Context, sink etcd.Sink) (etcd.Snapshot, error) {
	f.mu.Lock()
	f.taken++
	content := bytes.Repeat([]byte{byte(f.taken)}, 4096)
	f.mu.Unlock()
	sum := sha256.Sum256(content)
	// A member that dies in between has written what is no part of it.
	for _, written := range [][]byte{[]byte("garbage of a member that died"), append(content, sum[:]...)} {
		if err := sink.Reset(); err != nil {
			return etcd.Snapshot{}, err
		}
		if _, err := sink.Write(written); err != nil {
			return etcd.Snapshot{}, err
		}
	}
	return etcd.Snapshot{Node: "node-0", Version: "3.6.8", Floor: 40, Bytes: 4096 + sha256.Size}, f.at(ctx, "snapshot")
}

func (f *fakeEtcd) HashKV(ctx context.Context, revision int64, from string) (etcd.Hash, error) {
	if revision != 42 || from != "node-0" {
		return etcd.Hash{}, fmt.Errorf("asked for revision %d and not %s", revision, from)
	}
	return f.hash, f.at(ctx, "hash")
}

func (f *fakeEtcd) Rehearse(ctx context.Context, r rehearsal.Request, inspected func(rehearsal.Inspection)) (rehearsal.Report, error) {
	file, err := os.Open(r.Snapshot)
	if err != nil {
		return rehearsal.Report{}, err
	}
	defer file.Close()
	if err := etcd.Check(file); err != nil {
		return rehearsal.Report{}, err
	}
	i := rehearsal.Inspection{Revision: 42, TotalKeys: 3}
	inspected(i)
	return rehearsal.Report{Inspection: i, HashKV: 0xabcd, CompactRevision: 7, RehearsedWith: "3.6.14"}, f.at(ctx, "rehearsal")
}

// lab is a Keeper with a fake etcd and real folders.
type lab struct {
	*testing.T
	*backup.Keeper

	etcd    *fakeEtcd
	clock   *clocktesting.FakePassiveClock
	scratch string
	dir     string
	ended   chan types.NamespacedName
	stop    context.CancelFunc
}

var (
	demo = types.NamespacedName{Namespace: "team", Name: "demo-control-plane"}
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{
		T: t, etcd: newFakeEtcd(), clock: clocktesting.NewFakePassiveClock(noon), scratch: filepath.Join(t.TempDir(), "scratch"),
		dir: t.TempDir(), ended: make(chan types.NamespacedName, 100),
	}
	l.begin()
	t.Cleanup(func() {
		l.stop()
		l.Wait()
		l.scratchIsEmpty()
	})
	return l
}

// begin starts a manager.
func (l *lab) begin() {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	keeper, err := backup.New(ctx, backup.Options{
		Scratch: l.scratch, Store: store.Options{Dir: l.dir}, Rehearser: l.etcd, Clock: l.clock,
		Ended: func(key types.NamespacedName) { l.ended <- key },
	})
	if err != nil {
		l.Fatal(err)
	}
	l.Keeper = keeper
}

func (l *lab) scratchIsEmpty() {
	l.Helper()
	if left, err := filepath.Glob(filepath.Join(l.scratch, "*")); err != nil || len(left) > 0 {
		l.Errorf("%v is left on the scratch disk, %v", left, err)
	}
}

func (l *lab) request() backup.Request {
	return backup.Request{
		Cluster: store.Cluster{Namespace: "team", Name: "demo", UID: "1"}, ControlPlane: demo.Name, KubernetesVersion: "v1.36.3", For: "rollout", Source: l.etcd,
	}
}

// await asks until the job has ended, as a reconciler does: when it is woken.
func (l *lab) await(key types.NamespacedName, r backup.Request) backup.State {
	l.Helper()
	for {
		state := l.Ensure(key, r)
		if _, runs := state.(backup.Running); !runs {
			return state
		}
		select {
		case <-l.ended:
		case <-time.After(30 * time.Second):
			l.Fatalf("nobody wakes the reconciler: %+v", l.Ensure(key, r))
		}
	}
}

func (l *lab) done(state backup.State) backup.Done {
	l.Helper()
	done, ok := state.(backup.Done)
	if !ok {
		l.Fatalf("%+v", state)
	}
	return done
}

func (l *lab) failed(state backup.State) backup.Failed {
	l.Helper()
	failed, ok := state.(backup.Failed)
	if !ok {
		l.Fatalf("%+v", state)
	}
	return failed
}

func (l *lab) stored() []store.Manifest {
	l.Helper()
	s, err := store.Open(l.Context(), store.Location{}, store.Options{Dir: l.dir})
	if err != nil {
		l.Fatal(err)
	}
	listing, err := s.List(l.Context(), store.Cluster{})
	if err != nil || listing.Broken != nil {
		l.Fatal(err, listing.Broken)
	}
	return listing.Manifests
}

// A reconciler asks often, gets one backup, and everything that is known is written down.
func TestEnsure(t *testing.T) {
	l := newLab(t)
	done := l.done(l.await(demo, l.request()))
	m := done.Manifest
	if m.For != "rollout" || m.Node != "node-0" || m.ComparedWith != "node-1" || m.Uncompared != "" || m.Revision != 42 || m.TotalKeys != 3 || m.HashKV != 0xabcd ||
		!m.Time.Equal(noon) || !m.Rehearsed.Equal(noon) || m.EtcdVersion != "3.6.8" || m.KubernetesVersion != "v1.36.3" || m.Cluster.UID != "1" || len(done.Warnings) > 0 {
		t.Errorf("%+v", done)
	}
	if again := l.done(l.await(demo, l.request())); again.Manifest != m || l.etcd.taken != 1 || len(l.stored()) != 1 {
		t.Errorf("%d were taken: %+v", l.etcd.taken, again)
	}
	t.Run("a manager that knows nothing of it finds it", func(*testing.T) {
		l.stop()
		l.Wait()
		l.begin()
		if again := l.done(l.await(demo, l.request())); again.Manifest != m || l.etcd.taken != 1 {
			t.Errorf("%d were taken: %+v", l.etcd.taken, again)
		}
	})
	t.Run("for another rollout, or one that began later, another is made, and the old ones go", func(*testing.T) {
		for i, change := range []func(*backup.Request){
			func(r *backup.Request) { r.For = "another" },
			func(r *backup.Request) { r.Since = noon.Add(time.Hour) },
			func(r *backup.Request) { r.Cluster.UID = "2" },
		} {
			l.clock.SetTime(noon.Add(time.Duration(i+1) * time.Hour))
			r := l.request()
			r.Keep = 2
			change(&r)
			if next := l.done(l.await(demo, r)); l.etcd.taken != i+2 || next.Manifest.Name == m.Name || len(l.stored()) != 2 {
				t.Errorf("%d were taken, %d are stored: %+v", l.etcd.taken, len(l.stored()), next)
			}
		}
	})
	t.Run("who has disappeared is forgotten, and what is stored stays", func(*testing.T) {
		l.Forget(demo)
		if len(l.stored()) != 2 {
			t.Error("it is gone")
		}
	})
}

// What is not what etcd holds is never stored, and says what it is that is not; what cannot be compared is.
func TestComparison(t *testing.T) {
	t.Parallel()
	for why, c := range map[string]struct {
		change     func(*fakeEtcd)
		uncompared string
		failure    string
	}{
		"another hash":          {func(f *fakeEtcd) { f.hash.Value = 1 }, "", "hash 0000abcd, those of the member on node node-1 have 00000001"},
		"compacted meanwhile":   {func(f *fakeEtcd) { f.hash.CompactRevision, f.hash.Value = 8, 1 }, "compacted", ""},
		"an etcd that is older": {func(f *fakeEtcd) { f.hash.Version, f.hash.Value = "3.5.9", 1 }, "etcd 3.5.9", ""},
		"nobody answers": {func(f *fakeEtcd) {
			f.at = func(_ context.Context, where string) error {
				if where == "hash" {
					return etcd.ErrUnreachable
				}
				return nil
			}
		}, etcd.ErrUnreachable.Error(), ""},
		"the rehearsal fails": {func(f *fakeEtcd) {
			f.at = func(_ context.Context, where string) error {
				if where == "rehearsal" {
					return rehearsal.ErrUnusable
				}
				return nil
			}
		}, "", "node node-0: " + rehearsal.ErrUnusable.Error()},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			c.change(l.etcd)
			state := l.await(demo, l.request())
			if c.failure != "" {
				if failed := l.failed(state); !strings.Contains(failed.Err.Error(), c.failure) || len(l.stored()) > 0 {
					t.Errorf("%v", failed.Err)
				}
				return
			}
			if m := l.done(state).Manifest; m.ComparedWith != "" || !strings.Contains(m.Uncompared, c.uncompared) {
				t.Errorf("%+v", m)
			}
		})
	}
}

// One that fails is tried again later and later, whoever asks, and at once when somebody has changed something.
func TestBackoff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	broken := errors.New("no route to host")
	l.etcd.at = func(context.Context, string) error { return broken }
	now := noon
	for i, seconds := range []int{10, 20, 40, 80, 160, 320, 640, 900, 900} {
		failed := l.failed(l.await(demo, l.request()))
		if want := now.Add(time.Duration(seconds) * time.Second); !errors.Is(failed.Err, broken) || failed.Phase != backup.Snapshotting || !failed.RetryAt.Equal(want) {
			t.Errorf("try %d: again at %s, not %s: %v", i, failed.RetryAt, want, failed.Err)
		}
		l.clock.SetTime(failed.RetryAt.Add(-time.Second))
		if l.failed(l.Ensure(demo, l.request())); l.etcd.taken != i+1 {
			t.Errorf("try %d: it is tried too soon", i)
		}
		now = failed.RetryAt
		l.clock.SetTime(now)
	}
	l.failed(l.await(demo, l.request()))
	changed := l.request()
	changed.For = "another"
	if failed := l.failed(l.await(demo, changed)); !failed.RetryAt.Equal(now.Add(10 * time.Second)) {
		t.Errorf("another request waits until %s", failed.RetryAt)
	}
	l.etcd.at = func(context.Context, string) error { return nil }
	changed.Canary = "/registry"
	l.done(l.await(demo, changed))
}

// A request that can never work is refused without a job.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for why, change := range map[string]func(*backup.Request){
		"no name":          func(r *backup.Request) { r.Cluster.Name = "" },
		"for nothing":      func(r *backup.Request) { r.For = "" },
		"a folder of mine": func(r *backup.Request) { r.Location.URL = "file:///etc" },
	} {
		r := l.request()
		change(&r)
		if failed, ok := l.Ensure(demo, r).(backup.Failed); !ok || failed.Err == nil || l.etcd.taken > 0 {
			t.Errorf("%s: %+v", why, failed)
		}
	}
}

// At most two run at the same time, one for each control plane, and the others say that they wait.
func TestTurns(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	l.etcd.at = func(ctx context.Context, where string) error {
		if where != "snapshot" {
			return nil
		}
		arrived <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	key := func(i int) types.NamespacedName {
		return types.NamespacedName{Namespace: "team", Name: strconv.Itoa(i)}
	}
	request := func(i int) backup.Request {
		r := l.request()
		r.Cluster.Name = fmt.Sprint("cluster-", i)
		return r
	}
	for range 3 {
		for i := range 5 {
			l.Ensure(key(i), request(i))
		}
	}
	<-arrived
	<-arrived
	phases := map[backup.Phase]int{}
	for i := range 5 {
		now, _ := l.Ensure(key(i), request(i)).(backup.Running)
		phases[now.Phase]++
		if now.Phase == backup.Snapshotting && now.Bytes != 4096+sha256.Size {
			t.Errorf("progress is %+v", now)
		}
	}
	if phases[backup.Snapshotting] != 2 || phases[backup.Waiting] != 3 {
		t.Errorf("%v", phases)
	}
	close(release)
	for i := range 5 {
		l.done(l.await(key(i), request(i)))
	}
	if l.etcd.taken != 5 {
		t.Errorf("%d were taken", l.etcd.taken)
	}
}

// A manager that is told to end ends, wherever a job is, and a control plane that is gone is not waited for.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"snapshot", "hash", "rehearsal"} {
		for how, end := range map[string]func(*lab){"the manager ends": func(l *lab) { l.stop() }, "the control plane is gone": func(l *lab) { l.Forget(demo) }} {
			t.Run(how+" at "+where, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				arrived := make(chan struct{})
				l.etcd.at = func(ctx context.Context, at string) error {
					if at != where {
						return nil
					}
					close(arrived)
					<-ctx.Done()
					return ctx.Err()
				}
				l.Ensure(demo, l.request())
				<-arrived
				end(l)
				l.stop()
				l.Wait()
				l.scratchIsEmpty()
				if len(l.stored()) > 0 {
					t.Error("something is stored")
				}
				if failed, ok := l.Ensure(demo, l.request()).(backup.Failed); !ok || !errors.Is(failed.Err, context.Canceled) {
					t.Errorf("afterwards it is %+v", failed)
				}
			})
		}
	}
}

// What a killed manager has left on the scratch disk is removed by the next one, and nothing that anybody still uses or that
// was never ours.
func TestSweep(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stale := filepath.Join(l.scratch, "etcd-snapshot-123", "rehearsal", "data")
	foreign := filepath.Join(l.scratch, "somebody-elses")
	for _, dir := range []string{stale, foreign} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	arrived, release := make(chan struct{}), make(chan struct{})
	l.etcd.at = func(_ context.Context, where string) error {
		if where == "rehearsal" {
			close(arrived)
			<-release
		}
		return nil
	}
	l.Ensure(demo, l.request())
	<-arrived
	if _, err := backup.New(t.Context(), backup.Options{Scratch: l.scratch}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what nobody uses is left: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("what is not ours is gone: %v", err)
	}
	close(release)
	l.done(l.await(demo, l.request())) // its folder was not swept away
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
}
