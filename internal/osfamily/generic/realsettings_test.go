// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	kubeletv1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
)

// kubeadm merges the settings into the kubelet's configuration; the kubelet refuses to start with a field that it does not
// know.
func TestRealKubeadmPatchesTheKubelet(t *testing.T) {
	programs := realPrograms(t)
	in := nodeSuite().Input(t, "settings-init")
	in.Certificates = realCertificates(t)
	root := t.TempDir()
	programs.Apply(t, nodeSuite().Render(t, in), root)
	for _, phase := range []string{"certs", "kubeconfig"} {
		programs.Run(t, "kubeadm", "init", "phase", phase, "all", "--config", "/etc/ingot/kubeadm.yaml", "--rootfs", root)
	}
	programs.Run(t, "kubeadm", "init", "phase", "kubelet-start", "--config", "/etc/ingot/kubeadm.yaml", "--rootfs", root)

	var got kubeletv1.KubeletConfiguration
	if err := yaml.UnmarshalStrict([]byte(readFile(t, filepath.Join(root, "var/lib/kubelet/config.yaml"))), &got); err != nil {
		t.Fatalf("the kubelet would refuse its configuration: %v", err)
	}
	if got.MaxPods != 200 || got.PodPidsLimit == nil || *got.PodPidsLimit != 4096 {
		t.Errorf("maxPods %d, podPidsLimit %v", got.MaxPods, got.PodPidsLimit)
	}
	if got.SystemReserved["memory"] != "512Mi" || got.KubeReserved["cpu"] != "100m" || got.EvictionHard["memory.available"] != "200Mi" {
		t.Errorf("reserved %v and %v, eviction %v", got.SystemReserved, got.KubeReserved, got.EvictionHard)
	}
	if got.ShutdownGracePeriod.Duration != time.Minute || got.ShutdownGracePeriodCriticalPods.Duration != 20*time.Second {
		t.Errorf("shutdown %s and %s", got.ShutdownGracePeriod.Duration, got.ShutdownGracePeriodCriticalPods.Duration)
	}
	if got.CgroupDriver != "systemd" || len(got.ClusterDNS) == 0 {
		t.Error("what the cluster has for all nodes is lost")
	}
}

const robot, password = "robot$nodes", "c0rrect horse ü"

// containerd's own code reads the files that Ignition wrote, and reaches registries by them: through mirrors with an
// authority, a path and a password of their own, by token and by password, and not where it must not.
func TestRealContainerdReachesRegistries(t *testing.T) {
	network := newNetwork(t)
	mirror := network.registry("mirror.example.com:443", "/v2/hub", true)
	own := network.registry("registry.example.com:5000", "/v2", false)
	network.registry("any.example.com:443", "/v2", false)
	credentials := bootstrapv1.RegistryCredentials{Username: robot, PasswordFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "s", Key: "k"}}}
	in := nodeSuite().Input(t, "worker")
	in.Secrets = osfamily.Secrets{"s": {"k": []byte(password)}}
	in.Config.Registries = []bootstrapv1.Registry{
		{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{
			{URL: "https://down.example.com"},
			{URL: "https://mirror.example.com/v2/hub", OverridePath: new(true), CertificateAuthority: mirror, Credentials: credentials},
		}},
		{Host: "registry.example.com:5000", CertificateAuthority: own, Credentials: credentials},
		{Host: "*", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://any.example.com", CertificateAuthority: own, Credentials: credentials}}},
		{Host: "falls.example.com", Mirrors: []bootstrapv1.RegistryMirror{{URL: "http://down.example.com"}}},
		{Host: "stays.example.com", SkipFallback: new(true), Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://down.example.com"}, {URL: "http://down.example.com:5000"}}},
		{Host: "through.example.com", SkipFallback: new(true), Mirrors: []bootstrapv1.RegistryMirror{
			{URL: "https://mirror.example.com/v2/hub", OverridePath: new(true), CertificateAuthority: mirror, Credentials: credentials},
		}},
	}
	bundle, report := generic.New().Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	realPrograms(t).Apply(t, bundle.Data, root)
	ignitionnodetest.CheckApplied(t, bundle.Data, root, nil)

	for _, tc := range []struct {
		why, image string
		reached    bool
		dialed     string
	}{
		{"the second mirror answers, with a token that it gives for the password", "docker.io/library/busybox:1", true, "down.example.com:443 mirror.example.com:443"},
		{"the registry itself takes the password", "registry.example.com:5000/team/app:1", true, "registry.example.com:5000"},
		{"one mirror stands for all others", "elsewhere.example.com/team/app:1", true, "any.example.com:443"},
		{"when the mirror is down, the registry is asked", "falls.example.com/team/app:1", false, "down.example.com:80 falls.example.com:443"},
		{"when the mirrors are down, the registry is not asked", "stays.example.com/team/app:1", false, "down.example.com:443 down.example.com:5000"},
		{"the last mirror in the place of the registry has all that a mirror has", "through.example.com/team/app:1", true, "mirror.example.com:443"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			network.forget()
			resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(t.Context(), config.HostOptions{
				HostDir: config.HostDirFromRoot(filepath.Join(root, "etc/containerd/certs.d")), UpdateClient: network.join,
			})})
			_, found, err := resolver.Resolve(t.Context(), tc.image)
			if tc.reached != (err == nil && found.Digest == digestOfAll) {
				t.Errorf("found %v, %v, want it reached: %t", found.Digest, err, tc.reached)
			}
			if got := strings.Join(network.dialed(), " "); got != tc.dialed {
				t.Errorf("asked %s, want %s", got, tc.dialed)
			}
		})
	}
}

// digestOfAll is the digest of every image.
const digestOfAll = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// network is one in which names lead to servers of the test. Names that it does not know are down.
type network struct {
	t       *testing.T
	mu      sync.Mutex
	servers map[string]string
	seen    []string
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return &network{t: t, servers: map[string]string{}}
}

// registry serves a registry whose API is below a path, by token or by password, and returns its authority.
func (n *network) registry(address, path string, token bool) string {
	n.t.Helper()
	name := strings.TrimSuffix(address, ":443")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, secret, _ := r.BasicAuth()
		known := user == robot && secret == password
		switch {
		case token && r.URL.Path == "/token" && known:
			if _, err := io.WriteString(w, `{"token":"opens"}`); err != nil {
				n.t.Error(err)
			}
		case token && r.Header.Get("Authorization") != "Bearer opens":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="test"`, name))
			w.WriteHeader(http.StatusUnauthorized)
		case !token && !known:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, path+"/") && strings.HasSuffix(r.URL.Path, "/manifests/1") && !strings.HasPrefix(r.URL.Path, path+"/v2/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Docker-Content-Digest", digestOfAll)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	n.t.Cleanup(server.Close)
	n.servers[address] = server.Listener.Addr().String()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// join makes a client of containerd's part of the network.
func (n *network) join(client *http.Client) error {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("transport %T", client.Transport)
	}
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !slices.Contains(n.seen, address) {
			n.seen = append(n.seen, address)
		}
		server, ok := n.servers[address]
		if !ok {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s is down", address)}
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server)
	}
	return nil
}

func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = nil
}

func (n *network) dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen)
}
