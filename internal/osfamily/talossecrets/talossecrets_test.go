// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talossecrets_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// made returns the content of a Secret.
func made(t *testing.T) map[string][]byte {
	t.Helper()
	s, err := talossecrets.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.Data()
}

func TestWhatIsMadeCanBeRead(t *testing.T) {
	t.Parallel()
	data := made(t)
	read, err := talossecrets.Read(data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range read.Data() {
		if string(value) != string(data[key]) {
			t.Errorf("%s is not what was written", key)
		}
	}
	if len(data) != len(talossecrets.Keys()) {
		t.Errorf("%d keys are written, and %d demanded", len(data), len(talossecrets.Keys()))
	}
	again := made(t)
	for _, key := range talossecrets.Keys() {
		if string(again[key]) == string(data[key]) {
			t.Errorf("two clusters have the same %s", key)
		}
	}
}

// A Secret that somebody wrote by hand must not end in machines that never come up.
func TestReadNamesTheKey(t *testing.T) {
	t.Parallel()
	other := made(t)
	admin := func(t *testing.T, data map[string][]byte) (cert, key []byte) {
		t.Helper()
		cert, key, err := talossecrets.ClientCertificate(data["ca.crt"], data["ca.key"], []talossecrets.Role{talossecrets.RoleAdmin}, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	type change = func(t *testing.T, data map[string][]byte)
	for why, tc := range map[string]struct {
		change change
		says   string
	}{
		"a key of another authority": {func(_ *testing.T, d map[string][]byte) { d["ca.key"] = other["ca.key"] }, "ca.crt and ca.key are not a pair"},
		"rubbish":                    {func(_ *testing.T, d map[string][]byte) { d["ca.crt"] = []byte("rubbish") }, "ca.crt and ca.key are not a pair"},
		"another block": {func(_ *testing.T, d map[string][]byte) {
			d["ca.key"] = []byte(strings.ReplaceAll(string(d["ca.key"]), "ED25519 ", ""))
		}, "ca.key is not an Ed25519 key in a block ED25519 PRIVATE KEY"},
		"a client":                  {func(t *testing.T, d map[string][]byte) { t.Helper(); d["ca.crt"], d["ca.key"] = admin(t, d) }, "ca.crt is not the certificate of an authority"},
		"a short secret":            {func(_ *testing.T, d map[string][]byte) { d["cluster-secret"] = []byte("c2hvcnQ=") }, "cluster-secret is not 32 bytes"},
		"a key that is text":        {func(_ *testing.T, d map[string][]byte) { d["secretbox-key"] = []byte("open sesame") }, "secretbox-key is not 32 bytes"},
		"a name that is text":       {func(_ *testing.T, d map[string][]byte) { d["cluster-id"] = []byte("my cluster's name") }, "cluster-id is not base64"},
		"a token with a line break": {func(_ *testing.T, d map[string][]byte) { d["machine-token"] = append(d["machine-token"], '\n') }, "machine-token is not of the form"},
		"a token in capitals":       {func(_ *testing.T, d map[string][]byte) { d["bootstrap-token"] = []byte("ABCDEF.0123456789abcdef") }, "bootstrap-token is not of the form"},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			data := made(t)
			tc.change(t, data)
			if _, err := talossecrets.Read(data, time.Now()); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error is %v, and must say %q", err, tc.says)
			}
		})
	}
	for _, key := range talossecrets.Keys() {
		data := made(t)
		delete(data, key)
		if _, err := talossecrets.Read(data, time.Now()); err == nil || !strings.Contains(err.Error(), "it has no "+key) {
			t.Errorf("without %s the error is %v", key, err)
		}
	}
	if _, err := talossecrets.Read(made(t), time.Now().AddDate(11, 0, 0)); err == nil || !strings.Contains(err.Error(), "ca.crt ended at") {
		t.Errorf("an authority that ended gives the error %v", err)
	}
}

// The roles are all that a machine knows of a client. The server here asks as Talos' does: for a certificate of the authority
// that may be a client's.
func TestClientsAreLetInWithTheirRoles(t *testing.T) {
	t.Parallel()
	data, other := made(t), made(t)
	roles := []talossecrets.Role{talossecrets.RoleOperator, talossecrets.RoleEtcdBackup}
	seen, err := shakeHands(t, data, data, roles)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"os:operator", "os:etcd:backup"}; !slices.Equal(seen.Subject.Organization, want) {
		t.Errorf("the server sees the roles %v, not %v", seen.Subject.Organization, want)
	}
	if seen.IsCA || !slices.Equal(seen.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Error("the certificate is good for more than a client")
	}
	if hours := time.Until(seen.NotAfter).Hours(); hours < 1.9 || hours > 2 {
		t.Errorf("the certificate ends in %.1f hours, not in 2", hours)
	}
	if _, err := shakeHands(t, data, other, roles); err == nil {
		t.Error("a client of another cluster was let in")
	}
	if _, _, err := talossecrets.ClientCertificate(data["ca.crt"], data["ca.key"], nil, time.Now(), time.Hour); err == nil {
		t.Error("a client without a role got a certificate, which Talos would refuse")
	}
}

// shakeHands returns what the server of one cluster sees of a client with a certificate of another.
func shakeHands(t *testing.T, cluster, of map[string][]byte, roles []talossecrets.Role) (*x509.Certificate, error) {
	t.Helper()
	cert, key, err := talossecrets.ClientCertificate(of["ca.crt"], of["ca.key"], roles, time.Now(), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tls.X509KeyPair(cluster["ca.crt"], cluster["ca.key"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		// What the server looks like is not what this is about.
		conn := tls.Client(far, &tls.Config{Certificates: []tls.Certificate{client}, InsecureSkipVerify: true})
		_, _ = io.Copy(io.Discard, conn)
		_ = far.Close()
	}()
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{authority}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
	if err := server.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	return server.ConnectionState().PeerCertificates[0], nil
}
