// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package rehearsal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

const canary = "/registry/configmaps/kube-system/kubeadm-config"

// The test program is its own child, as the manager is.
func TestMain(m *testing.M) {
	if rehearsal.IsChild(os.Args) {
		os.Exit(rehearsal.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// member is a real etcd that this test can reach without a certificate.
func member(t *testing.T, dir string, arguments ...string) *clientv3.Client {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	programs, err := builder.Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	clients, peers := "http://"+freeAddress(t), "http://"+freeAddress(t)
	process := exec.Command(programs["etcd"], append([]string{
		"--data-dir", dir, "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "default=" + peers,
	}, arguments...)...)
	process.Stderr = t.Output()
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{clients}, Logger: zap.NewNop(), DialTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// snapshotOf returns a snapshot, and what the living member says of it.
func snapshotOf(t *testing.T, client *clientv3.Client) (snapshot []byte, hash *clientv3.HashKVResponse) {
	t.Helper()
	taken, err := client.SnapshotWithVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err = io.ReadAll(taken.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if hash, err = client.HashKV(t.Context(), client.Endpoints()[0], 0); err != nil {
		t.Fatal(err)
	}
	return snapshot, hash
}

// rehearse rehearses bytes, and sees that nothing is left but the restored data.
func rehearse(t *testing.T, ctx context.Context, snapshot []byte, key string) (rehearsal.Report, string, error) {
	t.Helper()
	child, err := rehearsal.Itself()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(file, snapshot, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := child.Rehearse(ctx, rehearsal.Request{Snapshot: file, Dir: dir, Canary: key}, func(rehearsal.Inspection) {})
	return report, dir, err
}

// resum gives damaged data a sum that is right, as if etcd's own disk were damaged.
func resum(snapshot []byte) []byte {
	data := slices.Clone(snapshot[:len(snapshot)-sha256.Size])
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

func TestRehearse(t *testing.T) {
	t.Parallel()
	client := member(t, t.TempDir())
	put := func(key, value string) int64 {
		done, err := client.Put(t.Context(), key, value)
		if err != nil {
			t.Fatal(err)
		}
		return done.Header.Revision
	}
	empty, _ := snapshotOf(t, client)
	put(canary, "ClusterConfiguration")
	for i := range 300 {
		put(fmt.Sprintf("/registry/pods/%d", i), strings.Repeat("x", 1000))
	}
	if _, err := client.Compact(t.Context(), put("/registry/pods/7", "changed"), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), "/registry/pods/8"); err != nil {
		t.Fatal(err)
	}
	revision := put("/registry/pods/9", "changed")
	whole, living := snapshotOf(t, client)

	t.Run("what is restored is what the living member holds", func(t *testing.T) {
		t.Parallel()
		report, dir, err := rehearse(t, t.Context(), whole, canary)
		if err != nil {
			t.Fatal(err)
		}
		if report.Revision != revision || report.TotalKeys != 300 || report.HashKV != living.Hash || report.CompactRevision != living.CompactRevision || report.RehearsedWith == "" || report.Took == 0 {
			t.Errorf("%+v, where the member says %+v at revision %d", report, living, revision)
		}
		// Somebody may want to use it.
		restored := member(t, filepath.Join(dir, rehearsal.Data), "--force-new-cluster")
		got, err := restored.Get(t.Context(), canary)
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "ClusterConfiguration" {
			t.Errorf("another etcd finds %v, %v", got, err)
		}
	})

	damagedPages := slices.Clone(whole)
	for i := 8192; i < len(damagedPages)-sha256.Size; i += 3000 {
		copy(damagedPages[i:], "damaged by a disk")
	}
	damagedMeta := slices.Clone(whole)
	copy(damagedMeta[:8192], bytes.Repeat([]byte{0xff}, 8192))
	for why, c := range map[string]struct {
		snapshot []byte
		canary   string
		says     string
	}{
		"one of a cluster that is not ours is refused":            {whole, "/registry/configmaps/kube-system/other", "but not /registry/configmaps/kube-system/other"},
		"one of an etcd that nobody has used is refused":          {empty, "", "no key"},
		"an empty file is refused":                                {nil, "", "cut off"},
		"one that was cut off is refused":                         {whole[:len(whole)/2], "", "cut off"},
		"one that was cut off at a page is refused":               {whole[:len(whole)-sha256.Size-4096+sha256.Size], "", "the sum at its end"},
		"one whose bytes have turned is refused":                  {append([]byte{1}, whole[1:]...), "", "the sum at its end"},
		"one that the member's disk had damaged does not end us":  {resum(damagedPages), "", ""},
		"one whose head the disk had damaged does not end us":     {resum(damagedMeta), "", ""},
		"one of which the disk had lost the end does not end us":  {resum(whole[:16384+sha256.Size]), "", ""},
		"a file that was never a database is refused, not obeyed": {resum(make([]byte, 4096+sha256.Size)), "", ""},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			report, _, err := rehearse(t, t.Context(), c.snapshot, c.canary)
			if !errors.Is(err, rehearsal.ErrUnusable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", report, err)
			}
			t.Log(err)
		})
	}

	t.Run("it ends when it is told to, and says that nobody is to blame", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := rehearse(t, ctx, whole, ""); !errors.Is(err, context.Canceled) || errors.Is(err, rehearsal.ErrUnusable) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a program that does not rehearse is named", func(t *testing.T) {
		t.Parallel()
		_, err := rehearsal.Child{Program: "/bin/true"}.Rehearse(t.Context(), rehearsal.Request{}, nil)
		if err == nil || !strings.Contains(err.Error(), "/bin/true does not rehearse") || errors.Is(err, rehearsal.ErrUnusable) {
			t.Errorf("%v", err)
		}
	})
}

// A manager that is killed leaves no process behind: the child ends when its input does.
func TestOrphan(t *testing.T) {
	t.Parallel()
	in, lifeline := io.Pipe()
	ended := make(chan int)
	fifo := filepath.Join(t.TempDir(), "never")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- rehearsal.Main(in, io.Discard, io.Discard) }()
	if _, err := fmt.Fprintf(lifeline, `{"snapshot": %q}`+"\n", fifo); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		t.Fatalf("it ended with %d while its parent lived", code)
	case <-time.After(200 * time.Millisecond):
	}
	_ = lifeline.Close()
	select {
	case code := <-ended:
		if code != 3 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("it lives on")
	}
}
