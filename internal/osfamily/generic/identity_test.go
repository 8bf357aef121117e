// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRealShellReportsIdentity runs the script of a machine with a real shell and a real curl against a server that asks for
// the kubelet's certificate. Only the paths of the machine are moved into a folder.
func TestRealShellReportsIdentity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ release, want string }{
		"an os-release with and without quotes": {
			"NAME=\"VMware Photon OS\"\nID=photon\nVERSION_ID='5.0'\nBUILD_ID=\"dde71ec57\"\n", "ID=photon VERSION_ID=5.0 BUILD_ID=dde71ec57",
		},
		"values that would break out of the report": {
			"ID=\"a\\\",\\\"b\\\":{} $(id)\"\nVERSION_ID=1 boot=forged\nMY_ID=no\n", "ID=ab:id VERSION_ID=1bootforged",
		},
		"an os-release that says nothing": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			boot, got := reportedIdentity(t, c.release)
			fields := strings.Fields(got)
			if len(fields) == 0 || fields[0] != "boot="+boot || strings.Join(fields[1:], " ") != c.want {
				t.Errorf("reported %q, want boot=%s %s", got, boot, c.want)
			}
		})
	}
}

// reportedIdentity is the annotation that a machine with the os-release puts on its Node, and the boot that it runs in.
func reportedIdentity(t *testing.T, release string) (boot, annotation string) {
	t.Helper()
	root := t.TempDir()
	certificate := selfSigned(t)
	var body []byte
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPatch || r.URL.Path != "/api/v1/nodes/harbour-node-1" || r.Header.Get("Content-Type") != "application/merge-patch+json" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()

	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	both := slices.Concat(public, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	script := ""
	for _, file := range nodeSuite().Node(t, nodeSuite().Input(t, "worker-identity-report")).Files {
		if file.Path == "/etc/ingot/report-identity" {
			script = string(file.Data)
		}
	}
	for path, content := range map[string]string{
		"/usr/lib/os-release": release, "/etc/os-release": "ID=forged\n", "/proc/sys/kernel/random/boot_id": "b00t-1d\n",
		"/etc/kubernetes/kubelet.conf": "clusters:\n- cluster:\n    server: " + server.URL + "\n",
		"/etc/kubernetes/pki/ca.crt":   string(public), "/var/lib/kubelet/pki/kubelet-client-current.pem": string(both),
	} {
		moved := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(moved, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		script = strings.ReplaceAll(script, path, "\x00"+path)
	}
	run := exec.CommandContext(t.Context(), "sh", "-s", "harbour-node-1")
	run.Stdin = strings.NewReader(strings.ReplaceAll(script, "\x00", root))
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var patch struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return "b00t-1d", patch.Metadata.Annotations["ingot.dev/node-identity"]
}

// selfSigned is a certificate for this machine that signs itself.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	template.IPAddresses = append(template.IPAddresses, []byte{127, 0, 0, 1})
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
