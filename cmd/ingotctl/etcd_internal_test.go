// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// The test program is its own child, as ingotctl is.
func TestMain(m *testing.M) {
	if rehearsal.IsChild(os.Args) {
		os.Exit(rehearsal.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// run runs ingotctl.
func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRootCommand()
	root.SetArgs(arguments)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// stored stores a snapshot of a real etcd, as a manager does, in a folder.
func stored(t *testing.T) (dir string, m store.Manifest) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := startEtcd(t)
	_, err := client.Put(t.Context(), backup.KubeadmCanary, "ClusterConfiguration")
	must(err)
	taken, err := client.SnapshotWithVersion(t.Context())
	must(err)
	var content bytes.Buffer
	_, err = content.ReadFrom(taken.Snapshot)
	must(err)
	file := filepath.Join(t.TempDir(), "snapshot.db")
	must(os.WriteFile(file, content.Bytes(), 0o600))
	child, err := rehearsal.Itself()
	must(err)
	report, err := child.Rehearse(t.Context(), rehearsal.Request{Snapshot: file, Dir: t.TempDir()}, func(rehearsal.Inspection) {})
	must(err)
	dir = t.TempDir()
	s, err := store.Open(t.Context(), store.Location{}, store.Options{Dir: dir})
	must(err)
	m, err = s.Put(t.Context(), store.Manifest{
		Cluster: store.Cluster{Namespace: "team", Name: "demo"}, Time: time.Now().UTC().Truncate(time.Second), Rehearsed: time.Now(), KubernetesVersion: "v1.36.3",
		Revision: report.Revision, TotalKeys: report.TotalKeys, HashKV: report.HashKV,
	}, bytes.NewReader(content.Bytes()), nil)
	must(err)
	return dir, m
}

func startEtcd(t *testing.T) *clientv3.Client {
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
	process := exec.Command(programs["etcd"], "--data-dir", t.TempDir(), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
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

// What an operator does when a cluster is lost: see what there is, and try it before anything else.
func TestEtcdCommands(t *testing.T) {
	dir, m := stored(t)
	t.Run("the list is for people, and for programs", func(t *testing.T) {
		table, err := run(t, "etcd", "snapshots", "--dir", dir)
		if err != nil || !strings.Contains(table, m.Name) || !strings.Contains(table, "v1.36.3") {
			t.Errorf("%s, %v", table, err)
		}
		text, err := run(t, "etcd", "snapshots", "team/demo", "--dir", dir, "-o", "json")
		var listed []store.Manifest
		if err != nil || json.Unmarshal([]byte(text), &listed) != nil || len(listed) != 1 || listed[0].SHA256 != m.SHA256 {
			t.Errorf("%s, %v", text, err)
		}
		if text, err := run(t, "etcd", "snapshots", "team/another", "--dir", dir, "-o", "json"); err != nil || strings.TrimSpace(text) != "[]" {
			t.Errorf("%s, %v", text, err)
		}
	})
	t.Run("one is tried, and left for use", func(t *testing.T) {
		kept := filepath.Join(t.TempDir(), "kept")
		text, err := run(t, "etcd", "restore-check", m.Name, "--dir", dir, "--scratch", t.TempDir(), "--keep-dir", kept)
		if err != nil || !strings.Contains(text, "can be restored") || !strings.Contains(text, filepath.Join(kept, "snapshot.db")) {
			t.Errorf("%s, %v", text, err)
		}
		for _, left := range []string{"snapshot.db", "data/member/snap/db"} {
			if _, err := os.Stat(filepath.Join(kept, left)); err != nil {
				t.Error(err)
			}
		}
		text, err = run(t, "etcd", "restore-check", m.Name, "--dir", dir, "--scratch", t.TempDir(), "-o", "json")
		var got checked
		if err != nil || json.Unmarshal([]byte(text), &got) != nil || got.Rehearsal.Revision != m.Revision || got.Manifest.Name != m.Name {
			t.Errorf("%s, %v", text, err)
		}
	})
	t.Run("errors say what to do", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte("secretAccessKey: [hush"), 0o600); err != nil {
			t.Fatal(err)
		}
		for says, arguments := range map[string][]string{
			"--dir or with --url":           {"snapshots"},
			"is no folder":                  {"snapshots", "--dir", filepath.Join(dir, "nowhere")},
			"use s3, gs or azblob":          {"snapshots", "--url", "http://bucket"},
			"namespace/name":                {"snapshots", "demo", "--dir", dir},
			"use table or json":             {"snapshots", "--dir", dir, "-o", "yaml"},
			"manifest of a Secret":          {"snapshots", "--url", "s3://b", "--credentials-file", file},
			"snapshots lists what there is": {"restore-check", "team/demo/20200101T000000Z-00000000", "--dir", dir},
			"as a list of snapshots shows":  {"restore-check", "../../etc/passwd", "--dir", dir},
			"but not /registry/nobody":      {"restore-check", m.Name, "--dir", dir, "--canary", "/registry/nobody", "--scratch", t.TempDir()},
		} {
			if text, err := run(t, append([]string{"etcd"}, arguments...)...); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v: %s, %v, not %q", arguments, text, err, says)
			}
		}
	})
	t.Run("a list with a broken one shows the others, names it, and fails", func(t *testing.T) {
		broken := filepath.Join(dir, "team", "demo", "20200101T000000Z-00000000.json")
		if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := run(t, "etcd", "snapshots", "--dir", dir)
		if err == nil || !strings.Contains(err.Error(), "20200101T000000Z-00000000") || !strings.Contains(text, m.Name) {
			t.Errorf("%s, %v", text, err)
		}
	})
}

// Credentials come as the Secret that the cluster has, or as somebody typed them.
func TestReadCredentials(t *testing.T) {
	t.Parallel()
	for why, content := range map[string]string{
		"a Secret of the API server": "apiVersion: v1\nkind: Secret\ndata: {accessKeyID: aWQ=, secretAccessKey: a2V5}\n",
		"a Secret that is typed":     "kind: Secret\nstringData: {accessKeyID: id, secretAccessKey: key}\n",
		"plain lines":                "accessKeyID: id\nsecretAccessKey: key\n",
	} {
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readCredentials(file)
		if err != nil || string(got["accessKeyID"]) != "id" || string(got["secretAccessKey"]) != "key" {
			t.Errorf("%s: %v", why, err)
		}
	}
}
