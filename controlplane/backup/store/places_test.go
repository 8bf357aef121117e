// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

func open(t *testing.T, l store.Location, options store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), l, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolder(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) *store.Store {
		t.Helper()
		return open(t, store.Location{}, store.Options{Dir: filepath.Join(t.TempDir(), "not", "yet")})
	})
}

// What is compatible with S3 is spoken to over the wire, with an authority of its own and below a prefix.
func TestS3(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) *store.Store {
		t.Helper()
		backend := s3mem.New()
		if err := backend.CreateBucket("backups"); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewTLSServer(gofakes3.New(backend).Server())
		t.Cleanup(server.Close)
		return open(t, store.Location{
			URL: "s3://backups/prod/etcd?pathStyle=true&region=eu-west-1&endpoint=" + server.URL,
			Credentials: map[string][]byte{
				store.AccessKeyID: []byte("id\n"), store.SecretAccessKey: []byte("key"), store.CACertificate: authorityOf(server),
			},
		}, store.Options{})
	})
}

func authorityOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// Google's is spoken to over the wire, as a service account.
func TestGS(t *testing.T) {
	t.Parallel()
	account := serviceAccount(t)
	conform(t, func(t *testing.T) *store.Store {
		t.Helper()
		fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, Writer: t.Output()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fake.Stop)
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "backups"})
		server := httptest.NewServer(fake.HTTPHandler())
		t.Cleanup(server.Close)
		return open(t, store.Location{
			URL:         "gs://backups/prod?endpoint=" + server.URL,
			Credentials: map[string][]byte{store.ServiceAccountJSON: account},
		}, store.Options{})
	})
}

// serviceAccount is the key of a service account, for which a server of this test gives tokens.
func serviceAccount(t *testing.T) []byte {
	t.Helper()
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token": "token", "token_type": "Bearer", "expires_in": 3600}`))
	}))
	t.Cleanup(tokens.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "backup@example.org", "private_key_id": "1", "token_uri": tokens.URL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// Azure's is spoken to over the wire; the server of this test knows the calls that are made, and no others.
func TestAzure(t *testing.T) {
	t.Parallel()
	for how, credentials := range map[string]map[string][]byte{
		"account key": {store.AccountName: []byte("account"), store.AccountKey: []byte("a2V5")},
		"token":       {store.AccountName: []byte("account"), store.SASToken: []byte("?sig=token")},
	} {
		t.Run("with "+how, func(t *testing.T) {
			t.Parallel()
			conform(t, func(t *testing.T) *store.Store {
				t.Helper()
				server := httptest.NewServer(newAzure("backups"))
				t.Cleanup(server.Close)
				return open(t, store.Location{URL: "azblob://backups/prod?endpoint=" + server.URL, Credentials: credentials}, store.Options{})
			})
		})
	}
}

// A full disk is told in words, and leaves nothing behind that would keep it full.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("only root can make a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	l := open(t, store.Location{}, store.Options{Dir: filepath.Join(dir, "snapshots")})
	if _, err := l.Put(t.Context(), store.Manifest{Cluster: demo, Time: noon}, bytes.NewReader(snapshot(4<<20, 1)), nil); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "is full") {
		t.Errorf("%v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "team", "demo", "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("%v is left, %v", files, err)
	}
	if _, err := l.Put(t.Context(), store.Manifest{Cluster: demo, Time: noon}, bytes.NewReader(snapshot(100<<10, 1)), nil); err != nil {
		t.Errorf("a small one does not fit afterwards: %v", err)
	}
}

// A snapshot holds every Secret of a cluster.
func TestFolderIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "snapshots")
	s := open(t, store.Location{}, store.Options{Dir: dir})
	l := lab{s, store.RawOf(s), t}
	m := l.put(demo, noon, snapshot(100, 1))
	for path, want := range map[string]os.FileMode{"": 0o700, "team/demo": 0o700, m.Name + ".db.zst": 0o600, m.Name + ".json": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q is %v, %v", path, info, err)
		}
	}
}
