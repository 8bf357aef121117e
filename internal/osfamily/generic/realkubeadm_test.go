// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
)

// kubeadm's own phases run in the folder that Ignition wrote, as they would on the node: it must take the authorities
// that it finds instead of making its own, and apply the patches to the static Pods.
func TestRealKubeadmUsesWhatIsWritten(t *testing.T) {
	programs := realPrograms(t)
	in := nodeSuite().Input(t, "init-full")
	in.Certificates = realCertificates(t)
	bundle, report := generic.New().Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	programs.Apply(t, bundle.Data, root)

	for _, phase := range [][]string{{"certs", "all"}, {"control-plane", "all"}, {"etcd", "local"}} {
		programs.Run(t, "kubeadm", slices.Concat([]string{"init", "phase"}, phase,
			[]string{"--config", "/etc/ingot/kubeadm.yaml", "--rootfs", root})...)
	}

	pki := filepath.Join(root, "etc/kubernetes/pki")
	if got := readFile(t, filepath.Join(pki, "ca.crt")); got != string(in.Certificates.ClusterCA.Cert) {
		t.Error("kubeadm replaced the cluster's authority")
	}
	serving := parseCertificate(t, readFile(t, filepath.Join(pki, "apiserver.crt")))
	if err := serving.CheckSignatureFrom(parseCertificate(t, string(in.Certificates.ClusterCA.Cert))); err != nil {
		t.Errorf("the API server's certificate is not signed by the cluster's authority: %v", err)
	}
	for _, name := range []string{in.Cluster.EndpointHost, "api.example.com", "203.0.113.7"} {
		if err := serving.VerifyHostname(name); err != nil {
			t.Errorf("the API server's certificate: %v", err)
		}
	}
	for pod, want := range map[string][]string{
		"kube-apiserver":          {`cpu: "1"`, "--profiling=false", "name: GOMEMLIMIT", "ingot.local/kube-apiserver:v1.36.3"},
		"kube-controller-manager": {"cpu: 10m", "--leader-elect=false", "--cluster-cidr=10.244.0.0/16"},
		"kube-scheduler":          {"cpu: 10m", "--leader-elect=false"},
		"etcd":                    {"cpu: 500m", "--unsafe-no-fsync=true", `value: "400"`},
	} {
		manifest := readFile(t, filepath.Join(root, "etc/kubernetes/manifests", pod+".yaml"))
		for _, line := range want {
			if !strings.Contains(manifest, line) {
				t.Errorf("the manifest of %s lacks %q:\n%s", pod, line, manifest)
			}
		}
	}
}

// An image may bring the very files and units that a bundle speaks of; the bundle wins.
func TestRealIgnitionOverridesTheImage(t *testing.T) {
	programs := realPrograms(t)
	bundle, _ := generic.New().Render(nodeSuite().Input(t, "worker"))
	root := t.TempDir()
	for path, content := range map[string]string{
		"etc/hostname": "localhost\n",
		"etc/hosts":    "127.0.0.1 localhost\n",
		"etc/systemd/system/unattended-upgrades.service": "[Service]\nExecStart=/bin/true\n",
		"usr/lib/systemd/system/apt-daily.timer":         "[Timer]\nOnCalendar=daily\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	programs.Apply(t, bundle.Data, root)
	ignitionnodetest.CheckApplied(t, bundle.Data, root, nil)
	if got := readFile(t, filepath.Join(root, "etc/hosts")); got != "127.0.0.1 localhost\n127.0.1.1 harbour-node-1\n" {
		t.Errorf("the image's hosts must stay and the node's must follow, got %q", got)
	}
}

// The two scripts of the virtual address run with the shell that is there, on tables that the test writes.
func TestVIPScripts(t *testing.T) {
	bundle, _ := generic.New().Render(nodeSuite().Input(t, "init-vip-default-interface"))
	root := t.TempDir()
	realPrograms(t).Apply(t, bundle.Data, root)
	scratch := t.TempDir()
	run := func(script string, replacements ...string) error {
		body := strings.NewReplacer(replacements...).Replace(readFile(t, filepath.Join(root, "etc/ingot", script)))
		return exec.CommandContext(t.Context(), "/bin/sh", "-c", body).Run()
	}

	routes := filepath.Join(scratch, "route")
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"ens9\t00000000\t010200C0\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n" +
		"eth1\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
		"eth2\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	if err := os.WriteFile(routes, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	replace := []string{"/proc/net/route", routes, "/run/ingot", scratch, "sleep 1", "sleep 0"}
	if err := run("vip-interface", replace...); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(scratch, "vip-interface.conf")); got != "$INTERFACE=eth1\n" {
		t.Errorf("the interface with the best default route is eth1, the script says %q", got)
	}
	if err := os.WriteFile(routes, []byte("Iface\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run("vip-interface", replace...); err == nil {
		t.Error("without a default route the script must fail, so that systemd tries again")
	}

	for _, ends := range []string{"the API server", "the member of etcd"} {
		api, apiPort := listen(t)
		etcd, etcdPort := listen(t)
		if err := run("vip-check", "192B", apiPort, "094B", etcdPort); err != nil {
			t.Errorf("both listen, on %s and %s, and the check says no: %v", apiPort, etcdPort, err)
		}
		if err := map[string]net.Listener{"the API server": api, "the member of etcd": etcd}[ends].Close(); err != nil {
			t.Fatal(err)
		}
		if err := run("vip-check", "192B", apiPort, "094B", etcdPort); err == nil {
			t.Errorf("%s does not listen any more, and the check says yes", ends)
		}
	}
}

// listen listens on a free port of loopback, and returns it as the kernel's tables write it.
func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	address, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return listener, fmt.Sprintf("%04X", address.Port())
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func realCertificates(t *testing.T) *osfamily.Certificates {
	t.Helper()
	key := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &osfamily.Certificates{
		ClusterCA:      authority(t, "kubernetes"),
		EtcdCA:         authority(t, "etcd-ca"),
		FrontProxyCA:   authority(t, "front-proxy-ca"),
		ServiceAccount: osfamily.KeyPair{Cert: encodePEM("PUBLIC KEY", public), Key: encodeKey(t, key)},
	}
}

func authority(t *testing.T, name string) osfamily.KeyPair {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return osfamily.KeyPair{Cert: encodePEM("CERTIFICATE", der), Key: encodeKey(t, key)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encodeKey(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("EC PRIVATE KEY", der)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func parseCertificate(t *testing.T, data string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(data))
	if block == nil {
		t.Fatalf("no PEM block in %q", data)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
