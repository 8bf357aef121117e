// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
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
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// The test program is its own child, as the manager is.
func TestMain(m *testing.M) {
	if rehearsal.IsChild(os.Args) {
		os.Exit(rehearsal.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// member is an etcd on a node.
type member struct {
	*testing.T

	name, dir, clients, peers string
	files                     []string
	trust                     *tls.Config
	client                    *clientv3.Client
}

// newMember makes a member that does not run yet, and a client of it.
func newMember(t *testing.T, name, dir string) *member {
	t.Helper()
	certificate, pki := selfSigned(t), t.TempDir()
	m := &member{
		T: t, name: name, dir: dir, clients: freeAddress(t), peers: "http://" + freeAddress(t),
		files: []string{"--cert-file", filepath.Join(pki, "crt"), "--key-file", filepath.Join(pki, "key")},
		trust: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12},
	}
	m.trust.RootCAs.AppendCertsFromPEM(certificate.crt)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + strings.Replace(m.clients, "127.0.0.1", "localhost", 1)}, TLS: m.trust, Logger: zap.NewNop(), DialTimeout: 20 * time.Second})
	if err := errors.Join(err, os.WriteFile(filepath.Join(pki, "crt"), certificate.crt, 0o600), os.WriteFile(filepath.Join(pki, "key"), certificate.key, 0o600)); err != nil {
		t.Fatal(err)
	}
	m.client = client
	t.Cleanup(func() { _ = client.Close() })
	return m
}

// run starts it as kubeadm's manifest does: with what would make a new cluster, where there are no data.
func (m *member) run(state, initial string) {
	m.Helper()
	builder, err := components.FromEnvironment(func(line string) { m.Log(line) })
	if err != nil {
		m.Fatal(err)
	}
	programs, err := builder.Build(m.Context(), "etcd")
	if err != nil {
		m.Fatal(err)
	}
	process := exec.Command(programs["etcd"], append(m.files, "--name", m.name, "--data-dir", m.dir, "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", "https://"+m.clients, "--advertise-client-urls", "https://"+m.clients,
		"--listen-peer-urls", m.peers, "--initial-advertise-peer-urls", m.peers, "--initial-cluster", initial, "--initial-cluster-state", state)...)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
}

// cluster is how it is seen from the management cluster.
func (m *member) cluster() etcd.Cluster {
	return etcd.Cluster{
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", m.clients)
		},
		TLS:   m.trust,
		Nodes: []string{m.name},
	}
}

// startEtcd starts a real member, and returns how it is seen from the management cluster, and a client.
func startEtcd(t *testing.T) (etcd.Cluster, *clientv3.Client) {
	t.Helper()
	m := newMember(t, "node-0", filepath.Join(t.TempDir(), "data"))
	m.run("new", m.name+"="+m.peers)
	return m.cluster(), m.client
}

type keyPair struct{ crt, key []byte }

func selfSigned(t *testing.T) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	crt, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{
		crt: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: crt}),
		key: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}),
	}
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

// The whole way, with nothing but real parts: a member that is written to, its snapshot, the child that restores it, the
// comparison with the living member, the folder, and the check of what was stored.
func TestRealEtcd(t *testing.T) {
	source, client := startEtcd(t)
	put := func(ctx context.Context, key, value string) error {
		_, err := client.Put(ctx, key, value)
		return err
	}
	if err := put(t.Context(), backup.KubeadmCanary, "ClusterConfiguration"); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(t.Context())
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; writing.Err() == nil; i++ {
			if err := put(writing, fmt.Sprintf("/registry/events/%d", i%500), strings.Repeat("x", 1000)); err != nil && writing.Err() == nil {
				t.Error(err)
			}
		}
	}()
	l := newLab(t)
	child, err := rehearsal.Itself()
	if err != nil {
		t.Fatal(err)
	}
	if l.Keeper, err = backup.New(t.Context(), backup.Options{
		Scratch: l.scratch, Store: store.Options{Dir: l.dir}, Rehearser: child, Clock: l.clock, Ended: func(key types.NamespacedName) { l.ended <- key },
	}); err != nil {
		t.Fatal(err)
	}
	r := l.request()
	r.Source, r.Canary = source, backup.KubeadmCanary
	m := l.done(l.await(demo, r)).Manifest
	stop()
	<-written
	if m.ComparedWith != "node-0" || m.TotalKeys < 1 || m.Revision < 2 || m.HashKV == 0 || m.RehearsedWith == "" || m.EtcdVersion == "" {
		t.Errorf("%+v", m)
	}
	l.scratchIsEmpty()

	s, err := store.Open(t.Context(), store.Location{}, store.Options{Dir: l.dir})
	if err != nil {
		t.Fatal(err)
	}
	trial := backup.Trial{Store: s, Name: m.Name, Canary: backup.KubeadmCanary, Scratch: l.scratch, Rehearser: child}
	if _, report, err := backup.Check(t.Context(), trial); err != nil || report.Revision != m.Revision {
		t.Errorf("%+v, %v", report, err)
	}
	l.scratchIsEmpty()
	t.Run("without the canary it is none of ours", func(*testing.T) {
		r.For, r.Canary = "another", "/registry/nobody"
		if failed := l.failed(l.await(demo, r)); !errors.Is(failed.Err, rehearsal.ErrUnusable) || !strings.Contains(failed.Err.Error(), "/registry/nobody") {
			t.Errorf("%v", failed.Err)
		}
	})
	t.Run("what is kept for use is left, and never beside what is there", func(*testing.T) {
		trial.KeepDir = filepath.Join(t.TempDir(), "kept")
		if _, _, err := backup.Check(t.Context(), trial); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(trial.KeepDir, rehearsal.Data, "member", "snap", "db")); err != nil {
			t.Error(err)
		}
		if _, _, err := backup.Check(t.Context(), trial); err == nil || !strings.Contains(err.Error(), "name one that does not exist") {
			t.Errorf("%v", err)
		}
	})
	t.Run("one that was damaged where it is stored is refused by name", func(*testing.T) {
		file := filepath.Join(l.dir, m.Name+".db.zst")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		trial.KeepDir = ""
		if _, _, err := backup.Check(t.Context(), trial); err == nil || !strings.Contains(err.Error(), m.Name) {
			t.Errorf("%v", err)
		}
	})
}
