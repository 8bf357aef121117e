// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// restoring is a Restorer with a real child and a real server.
type restoring struct {
	*testing.T
	*backup.Restorer

	options backup.RestoreOptions
	address string
	ended   chan types.NamespacedName
	stop    context.CancelFunc
	clock   *clocktesting.FakePassiveClock
}

func newRestoring(t *testing.T, stored string) *restoring {
	t.Helper()
	child, err := rehearsal.Itself()
	if err != nil {
		t.Fatal(err)
	}
	r := &restoring{T: t, address: freeAddress(t), ended: make(chan types.NamespacedName, 100), clock: clocktesting.NewFakePassiveClock(time.Now())}
	r.options = backup.RestoreOptions{
		Dir: filepath.Join(t.TempDir(), "restored"), URL: "https://" + r.address + "/", Store: store.Options{Dir: stored}, Rehearser: child,
		Clock: r.clock, Ended: func(key types.NamespacedName) { r.ended <- key },
	}
	r.begin()
	return r
}

// begin starts a manager.
func (r *restoring) begin() {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	restorer, err := backup.NewRestorer(ctx, r.options)
	if err != nil {
		r.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- restorer.Serve(ctx, r.address) }()
	r.Restorer = restorer
	r.stop = sync.OnceFunc(func() {
		cancel()
		r.Wait()
		if err := <-served; err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(r.stop)
}

func (r *restoring) await(request backup.RestoreRequest) backup.State {
	r.Helper()
	for {
		state := r.Ensure(request.ControlPlane, request)
		if _, runs := state.(backup.Running); !runs {
			return state
		}
		select {
		case <-r.ended:
		case <-time.After(time.Minute):
			r.Fatalf("nobody wakes the reconciler: %+v", state)
		}
	}
}

func (r *restoring) restored(request backup.RestoreRequest) osfamily.Restore {
	r.Helper()
	state := r.await(request)
	restored, is := state.(backup.Restored)
	if !is {
		r.Fatalf("%+v", state)
	}
	return restored.Restore
}

// ask asks for an address as a Machine does, which trusts only what it was told to.
func (r *restoring) ask(method, url string, restore osfamily.Restore) (status int, content []byte) {
	r.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(restore.Authority))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(r.Context(), method, url, nil)
	if err != nil {
		r.Fatal(err)
	}
	var answer *http.Response
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if answer, err = client.Do(request); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if content, err = io.ReadAll(answer.Body); err != nil {
		r.Fatal(err)
	}
	return answer.StatusCode, content
}

// fetch does what the first Machine does before kubeadm runs, below another root.
func (r *restoring) fetch(restore osfamily.Restore, root string) {
	r.Helper()
	if err := restore.Validate(); err != nil {
		r.Fatal(err)
	}
	for _, f := range restore.Files {
		status, content := r.ask(http.MethodGet, f.URL, restore)
		sum := sha512.Sum512(content)
		if status != http.StatusOK || hex.EncodeToString(sum[:]) != f.SHA512 || int64(len(content)) != f.SizeBytes {
			r.Fatalf("%s: %d, %d bytes", f.Path, status, len(content))
		}
		name := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			r.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			r.Fatal(err)
		}
	}
}

// The whole way, with nothing but real parts: a snapshot of a member is restored, a Machine fetches it, a member starts on it
// with its own name and addresses, is told where it is, and another member joins it. What a client remembers of before the
// loss is older than anything that it sees then, so nothing that watches misses anything.
func TestRestoreRealEtcd(t *testing.T) {
	source, client := startEtcd(t)
	for _, key := range []string{backup.KubeadmCanary, "/registry/secrets/kept"} {
		if _, err := client.Put(t.Context(), key, "value"); err != nil {
			t.Fatal(err)
		}
	}
	stored := t.TempDir()
	m := takeSnapshot(t, source, stored)
	lost, err := client.Put(t.Context(), "/registry/secrets/lost", "written after the snapshot")
	if err != nil {
		t.Fatal(err)
	}

	r := newRestoring(t, stored)
	request := backup.RestoreRequest{ControlPlane: demo, Snapshot: m.Name, Canary: backup.KubeadmCanary}
	restore := r.restored(request)
	root := t.TempDir()
	r.fetch(restore, root)
	began := newMember(t, "first", filepath.Join(root, osfamily.RestoreFolder))
	began.run("new", "first="+began.peers)

	cluster := began.cluster()
	var list []plan.Member
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && (len(list) != 1 || !list[0].Healthy || list[0].Name != "first"); time.Sleep(100 * time.Millisecond) {
		if list, err = cluster.Members(t.Context()); err != nil {
			list = nil
		}
	}
	if len(list) != 1 || !list[0].Misplaced || list[0].Name != "first" {
		t.Fatalf("%+v, %v", list, err)
	}
	got, err := began.client.Get(t.Context(), "/registry/secrets/", clientv3.WithPrefix())
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Key) != "/registry/secrets/kept" || got.Header.Revision <= lost.Header.Revision {
		t.Fatalf("%+v, %v", got, err)
	}
	watch := <-began.client.Watch(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(lost.Header.Revision))
	if watch.CompactRevision == 0 {
		t.Errorf("whoever watches from before the loss is not sent to begin anew: %+v", watch)
	}
	if err := cluster.Place(t.Context(), list[0], "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if list, err = cluster.Members(t.Context()); err != nil || list[0].Misplaced {
		t.Fatalf("%+v, %v", list, err)
	}
	// Members listen at port 2380 on their nodes; here each has a port of its own.
	members, err := began.client.MemberList(t.Context())
	if err != nil || members.Members[0].PeerURLs[0] != "https://127.0.0.1:2380" {
		t.Fatalf("%+v, %v", members, err)
	}
	if _, err := began.client.MemberUpdate(t.Context(), members.Members[0].ID, []string{began.peers}); err != nil {
		t.Fatal(err)
	}
	second := newMember(t, "second", t.TempDir())
	if _, err := began.client.MemberAdd(t.Context(), []string{second.peers}); err != nil {
		t.Fatal(err)
	}
	second.run("existing", "first="+began.peers+",second="+second.peers)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got, err := second.client.Get(ctx, "/registry/secrets/kept"); err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}

	t.Run("nobody sees what he does not know the address of", func(*testing.T) {
		address := restore.Files[0].URL
		folder := strings.SplitAfterN(address, "/", 5)
		base := strings.Join(folder[:3], "")
		for _, url := range []string{base, base + strings.Repeat("0", 64) + "/member/snap/db", base + "server.pem", strings.Join(folder[:4], ""), strings.Join(folder[:4], "") + "restore.json", strings.Join(folder[:4], "") + "../server.pem", address + "/.."} {
			if status, content := r.ask(http.MethodGet, url, restore); status != http.StatusNotFound || strings.Contains(string(content), "PRIVATE") {
				t.Errorf("%s: %d", url, status)
			}
		}
		if status, _ := r.ask(http.MethodPut, address, restore); status != http.StatusNotFound {
			t.Errorf("PUT: %d", status)
		}
	})
	t.Run("a manager that knows nothing of it serves the same, and asks whether it is still wanted", func(*testing.T) {
		r.stop()
		for len(r.ended) > 0 {
			<-r.ended
		}
		r.begin()
		if key := <-r.ended; key != demo {
			t.Errorf("asked for %s", key)
		}
		again := r.restored(request)
		r.fetch(again, t.TempDir())
		if again.Files[0] != restore.Files[0] || again.Authority != restore.Authority {
			t.Errorf("it tells %+v now", again)
		}
	})
	t.Run("what cannot be read is in nobody's way, and is removed at the next start", func(*testing.T) {
		broken := filepath.Join(r.options.Dir, strings.Repeat("0", 64))
		if err := os.MkdirAll(broken, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(broken, "restore.json"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Forget(types.NamespacedName{Namespace: "team", Name: "another"}); err != nil {
			t.Error(err)
		}
		r.stop()
		r.begin()
		if _, err := os.Stat(broken); !os.IsNotExist(err) {
			t.Errorf("it is left: %v", err)
		}
	})
	t.Run("what is forgotten is gone", func(*testing.T) {
		if err := r.Forget(demo); err != nil {
			t.Fatal(err)
		}
		if status, _ := r.ask(http.MethodGet, restore.Files[0].URL, restore); status != http.StatusNotFound {
			t.Errorf("it is still there: %d", status)
		}
		left, err := os.ReadDir(r.options.Dir)
		if err != nil || len(left) != 1 || left[0].Name() != "server.pem" {
			t.Errorf("left: %v, %v", left, err)
		}
		if state := r.Look(demo, request); state != nil {
			t.Errorf("it is remembered: %+v", state)
		}
	})
	t.Run("another certificate is shown before the first one ends", func(t *testing.T) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(restore.Authority))
		shows := func() error {
			conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", r.address)
			if err == nil {
				err = conn.Close()
			}
			return err
		}
		if err := shows(); err != nil {
			t.Fatal(err)
		}
		r.clock.SetTime(time.Now().Add(350 * 24 * time.Hour))
		if err := shows(); !errors.As(err, new(x509.UnknownAuthorityError)) {
			t.Errorf("the old one is shown: %v", err)
		}
	})
}

// What is taken to a Machine is a snapshot in its turn. Whoever restores it checks its sum, and nothing that watched before misses
// anything. Nobody needs to be reached for that.
func TestUpload(t *testing.T) {
	source, client := startEtcd(t)
	if _, err := client.Put(t.Context(), backup.KubeadmCanary, "value"); err != nil {
		t.Fatal(err)
	}
	stored := t.TempDir()
	m := takeSnapshot(t, source, stored)
	lost, err := client.Put(t.Context(), "/registry/secrets/lost", "written after the snapshot")
	if err != nil {
		t.Fatal(err)
	}
	r := newRestoring(t, stored)
	request := backup.RestoreRequest{ControlPlane: demo, Snapshot: m.Name, Canary: backup.KubeadmCanary, Upload: true}
	var restored backup.Restored
	var first []byte
	for range 2 { // a manager that knows nothing of it has the same
		r.stop()
		r.options.URL = ""
		r.begin()
		state := r.await(request)
		restored, _ = state.(backup.Restored)
		if restored.Open == nil {
			t.Fatalf("%+v", state)
		}
		file, err := restored.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close(), etcd.Check(bytes.NewReader(content))); err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, content) {
			t.Error("it is another one after a restart")
		}
		first = content
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(file, first, 0o600); err != nil {
		t.Fatal(err)
	}
	began := newMember(t, "first", t.TempDir())
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: "first", OutputDataDir: began.dir, PeerURLs: []string{began.peers}, InitialCluster: "first=" + began.peers, InitialClusterToken: "other",
	})
	if err != nil {
		t.Fatal(err)
	}
	began.run("new", "first="+began.peers)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := began.client.Get(ctx, backup.KubeadmCanary)
	if err != nil || len(got.Kvs) != 1 || got.Header.Revision <= lost.Header.Revision {
		t.Fatalf("%+v, %v", got, err)
	}
	watch := <-began.client.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(lost.Header.Revision))
	if watch.CompactRevision == 0 {
		t.Errorf("whoever watches from before the loss is not sent to begin anew: %+v", watch)
	}
	spoil(t, r.options.Dir)
	spoiled, err := restored.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spoiled.Close() }()
	if content, err := io.ReadAll(spoiled); err == nil || len(content) >= len(first) {
		t.Errorf("of a database with one bit that has turned %d bytes are a snapshot: %v", len(content), err)
	}
	if err := r.Forget(demo); err != nil {
		t.Fatal(err)
	}
	if _, err := restored.Open(); err == nil || strings.Contains(err.Error(), r.options.Dir) {
		t.Errorf("what was forgotten is opened, or its place is told: %v", err)
	}
}

// spoil turns one bit of the database that was restored.
func spoil(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "member", "snap", "db"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(found[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What cannot be restored is said, with what to do, and leaves nothing.
func TestRestoreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*backup.RestoreRequest, *backup.RestoreOptions)
		want   string
	}{
		"nobody can fetch it": {func(_ *backup.RestoreRequest, o *backup.RestoreOptions) { o.URL = "" }, "--restore-url"},
		"it is of another namespace": {func(r *backup.RestoreRequest, _ *backup.RestoreOptions) {
			r.Snapshot = "other/demo/20260102T030405Z-1a2b3c4d"
		}, "of another namespace"},
		"it is of another namespace in a bucket of the manager": {func(r *backup.RestoreRequest, _ *backup.RestoreOptions) {
			r.Location.URL, r.Snapshot = "s3://backups", "other/demo/20260102T030405Z-1a2b3c4d"
		}, "of another namespace"},
		"there is no such snapshot": {func(*backup.RestoreRequest, *backup.RestoreOptions) {}, "there is no such snapshot"},
		"the location is none": {func(r *backup.RestoreRequest, _ *backup.RestoreOptions) {
			r.Location.URL = "ftp://backups"
		}, "scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRestoring(t, t.TempDir())
			request := backup.RestoreRequest{ControlPlane: demo, Snapshot: "team/demo/20260102T030405Z-1a2b3c4d"}
			r.stop()
			c.change(&request, &r.options)
			r.begin()
			failed, is := r.await(request).(backup.Failed)
			if !is || !strings.Contains(failed.Err.Error(), c.want) {
				t.Errorf("%+v", failed)
			}
			if left, err := filepath.Glob(filepath.Join(r.options.Dir, "*-*")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
	t.Run("an address that is none is refused at the start", func(t *testing.T) {
		options := newRestoring(t, t.TempDir()).options
		for _, url := range []string{"http://10.0.0.5:9444", "10.0.0.5:9444", "https://", "https://a?b=c"} {
			options.URL = url
			if _, err := backup.NewRestorer(t.Context(), options); err == nil || !strings.Contains(err.Error(), "https://host:port") {
				t.Errorf("%s: %v", url, err)
			}
		}
	})
}

func takeSnapshot(t *testing.T, source etcd.Cluster, dir string) store.Manifest {
	t.Helper()
	l := newLab(t)
	child, err := rehearsal.Itself()
	if err != nil {
		t.Fatal(err)
	}
	l.Keeper, err = backup.New(t.Context(), backup.Options{Scratch: l.scratch, Store: store.Options{Dir: dir}, Rehearser: child, Clock: l.clock, Ended: func(key types.NamespacedName) { l.ended <- key }})
	if err != nil {
		t.Fatal(err)
	}
	request := l.request()
	request.Source = source
	return l.done(l.await(demo, request)).Manifest
}
