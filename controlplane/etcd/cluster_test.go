// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd/etcdtest"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// members are real etcd processes, each on a node of its own, which is a pair of ports here.
type members struct {
	*testing.T

	program, dir string
	authority    *corev1.Secret
	nodes        map[string]*node
	cluster      etcd.Cluster
	dials        atomic.Int32
}

type node struct {
	name                   string
	clients, peers         string // addresses
	process                *exec.Cmd
	unreachable, deafening bool
}

// start starts a cluster of as many members.
func start(t *testing.T, n int) *members {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	programs, err := builder.Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	m := &members{T: t, program: programs["etcd"], dir: t.TempDir(), nodes: map[string]*node{}}
	m.makeCertificates()
	var initial []string
	for i := range n {
		node := m.add(fmt.Sprintf("node-%d", i))
		initial = append(initial, node.name+"=http://"+node.peers)
	}
	for _, node := range m.nodes {
		m.run(node, "new", initial)
	}
	m.until("all members are healthy", func(all []plan.Member) bool {
		return len(all) == n && !slices.ContainsFunc(all, func(m plan.Member) bool { return !m.Healthy })
	})
	return m
}

// makeCertificates makes etcd's authority as the control plane does, and a certificate for members as kubeadm does.
func (m *members) makeCertificates() {
	m.Helper()
	key := client.ObjectKey{Namespace: "default", Name: "demo"}
	api := fake.NewClientBuilder().Build()
	found, err := certificates.Look(m.Context(), api, key, certificates.Purposes())
	if err != nil {
		m.Fatal(err)
	}
	if err := found.Create(m.Context(), api, key, metav1.OwnerReference{}, "ECDSA-P256", time.Now()); err != nil {
		m.Fatal(err)
	}
	if found, err = certificates.Look(m.Context(), api, key, certificates.Purposes()); err != nil {
		m.Fatal(err)
	}
	m.authority = found[secret.EtcdCA]
	ca, err := certs.DecodeCertPEM(m.authority.Data[secret.TLSCrtDataName])
	if err != nil {
		m.Fatal(err)
	}
	caKey, err := certs.DecodePrivateKeyPEM(m.authority.Data[secret.TLSKeyDataName])
	if err != nil {
		m.Fatal(err)
	}
	serverKey, err := certs.NewPrivateKey()
	if err != nil {
		m.Fatal(err)
	}
	config := certs.Config{CommonName: "node", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	config.AltNames.DNSNames = []string{"localhost"}
	server, err := config.NewSignedCert(serverKey, ca, caKey)
	if err != nil {
		m.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"ca.crt": m.authority.Data[secret.TLSCrtDataName], "server.crt": certs.EncodeCertPEM(server), "server.key": certs.EncodePrivateKeyPEM(serverKey),
	} {
		if err := os.WriteFile(filepath.Join(m.dir, name), content, 0o600); err != nil {
			m.Fatal(err)
		}
	}
	config2, err := certificates.EtcdClient(m.authority)
	if err != nil {
		m.Fatal(err)
	}
	m.cluster = etcd.Cluster{Dial: m.dial, TLS: config2}
}

// add reserves a node.
func (m *members) add(name string) *node {
	m.Helper()
	n := &node{name: name, clients: freeAddress(m.T), peers: freeAddress(m.T)}
	m.nodes[name] = n
	m.cluster.Nodes = append(m.cluster.Nodes, name)
	return n
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

// run runs the member on a node until the test ends.
func (m *members) run(n *node, state string, initial []string) {
	m.Helper()
	n.process = exec.Command(m.program, "--name", n.name, "--data-dir", filepath.Join(m.dir, n.name),
		"--listen-client-urls", "https://"+n.clients, "--advertise-client-urls", "https://"+n.clients,
		"--listen-peer-urls", "http://"+n.peers, "--initial-advertise-peer-urls", "http://"+n.peers,
		"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", state, "--unsafe-no-fsync", "--log-level", "error",
		"--cert-file", filepath.Join(m.dir, "server.crt"), "--key-file", filepath.Join(m.dir, "server.key"),
		"--trusted-ca-file", filepath.Join(m.dir, "ca.crt"), "--client-cert-auth")
	n.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.process.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		_ = n.process.Process.Signal(syscall.SIGCONT)
		_ = n.process.Process.Kill()
		_ = n.process.Wait()
	})
}

func (m *members) dial(ctx context.Context, name string) (net.Conn, error) {
	n := m.nodes[name]
	m.dials.Add(1)
	switch {
	case n == nil || n.unreachable:
		return nil, errors.New("no route to node " + name)
	case n.deafening:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return (&net.Dialer{}).DialContext(ctx, "tcp", n.clients)
	}
}

// until waits until the members are as they should be, and returns them.
func (m *members) until(what string, is func([]plan.Member) bool) []plan.Member {
	m.Helper()
	var last []plan.Member
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if last, err = m.cluster.Members(m.Context()); err == nil && is(last) {
			return last
		}
	}
	m.Fatalf("it never happens that %s: %+v, %v", what, last, err)
	return nil
}

func named(all []plan.Member, name string) plan.Member {
	for _, m := range all {
		if m.Name == name {
			return m
		}
	}
	return plan.Member{}
}

func leader(all []plan.Member) plan.Member {
	i := slices.IndexFunc(all, func(m plan.Member) bool { return m.Leader })
	if i < 0 {
		return plan.Member{}
	}
	return all[i]
}

func follower(all []plan.Member) plan.Member {
	i := slices.IndexFunc(all, func(m plan.Member) bool { return !m.Leader && m.Healthy })
	return all[i]
}

// The members are told as they are, whoever is asked, and whoever hangs.
func TestMembers(t *testing.T) {
	m := start(t, 3)
	all, err := m.cluster.Members(t.Context())
	if err != nil || leader(all).Name == "" || !slices.IsSortedFunc(all, func(a, b plan.Member) int { return strings.Compare(a.ID, b.ID) }) {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, member := range all {
		if !member.CertificateEnds.After(time.Now()) {
			t.Errorf("the certificate of %s ends %s", member.Name, member.CertificateEnds)
		}
	}
	t.Run("a frozen member is not healthy, and costs seconds", func(t *testing.T) {
		victim := m.nodes[follower(all).Name]
		_ = victim.process.Process.Signal(syscall.SIGSTOP)
		begin := time.Now()
		m.until("the frozen member is unhealthy", func(all []plan.Member) bool { return !named(all, victim.name).Healthy && len(all) == 3 })
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		_ = victim.process.Process.Signal(syscall.SIGCONT)
		m.until("it is healthy again", func(all []plan.Member) bool { return named(all, victim.name).Healthy })
	})
	t.Run("a node that cannot be reached is not healthy, and the others tell", func(*testing.T) {
		m.nodes["node-0"].unreachable = true
		defer func() { m.nodes["node-0"].unreachable = false }()
		m.until("node-0 is unhealthy", func(all []plan.Member) bool {
			return !named(all, "node-0").Healthy && named(all, "node-1").Healthy && named(all, "node-2").Healthy
		})
	})
	t.Run("a node that hangs holds up no change", func(t *testing.T) {
		m.nodes["node-0"].deafening = true
		defer func() { m.nodes["node-0"].deafening = false }()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second) // less than one member may take
		defer cancel()
		if err := m.cluster.Settle(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("each node is asked once", func(t *testing.T) {
		before := m.dials.Load()
		if _, err := m.cluster.Members(t.Context()); err != nil {
			t.Error(err)
		}
		if n := m.dials.Load() - before; n != 3 {
			t.Errorf("3 nodes are asked with %d connections", n)
		}
	})
	t.Run("without a quorum the members are told, and none is healthy", func(*testing.T) {
		for _, name := range []string{"node-1", "node-2"} {
			_ = m.nodes[name].process.Process.Signal(syscall.SIGSTOP)
			defer func() { _ = m.nodes[name].process.Process.Signal(syscall.SIGCONT) }()
		}
		m.until("nobody is healthy", func(all []plan.Member) bool {
			return len(all) == 3 && !slices.ContainsFunc(all, func(m plan.Member) bool { return m.Healthy })
		})
	})
	t.Run("when nobody answers, nothing is told", func(t *testing.T) {
		for _, n := range m.nodes {
			n.unreachable = true
			defer func() { n.unreachable = false }()
		}
		if all, err := m.cluster.Members(t.Context()); !errors.Is(err, etcd.ErrUnreachable) || all != nil {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// A member is replaced as the planner says: another joins as a learner, gets its vote, leads, and the old one goes.
func TestReplace(t *testing.T) {
	t.Parallel()
	m := start(t, 3)
	all := m.until("there is a leader", func(all []plan.Member) bool { return leader(all).Name != "" })
	old := leader(all)
	m.put(t, "canary", "sings")

	n := m.add("node-3")
	var initial []string
	for _, other := range m.nodes {
		initial = append(initial, other.name+"=http://"+other.peers)
	}
	m.client(t, func(ctx context.Context, c *clientv3.Client) error {
		for {
			// etcd adds nobody in the first seconds.
			if _, err := c.MemberAddAsLearner(ctx, []string{"http://" + n.peers}); err == nil || ctx.Err() != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	unnamed := m.until("the learner is a member", func(all []plan.Member) bool { return len(all) == 4 })
	if learner := named(unnamed, ""); !learner.Learner || learner.Healthy {
		t.Errorf("a learner that has not started is %+v", learner)
	}
	if err := m.cluster.Promote(t.Context(), named(unnamed, "")); err == nil {
		t.Error("a learner that does not keep up seems to have a vote")
	}
	m.run(n, "existing", initial)
	all = m.until("the learner keeps up", func(all []plan.Member) bool { return named(all, "node-3").Healthy })
	for range 2 { // a manager that was killed does it again
		if err := m.cluster.Promote(t.Context(), named(all, "node-3")); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := m.cluster.MoveLeader(t.Context(), old, named(all, "node-3")); err != nil {
			t.Fatal(err)
		}
	}
	m.until("the new one leads", func(all []plan.Member) bool { return leader(all).Name == "node-3" })
	for range 2 {
		etcdtest.Remove(t, m.cluster, old)
	}
	all = m.until("the old one is gone", func(all []plan.Member) bool { return len(all) == 3 && named(all, old.Name).ID == "" })
	if named(all, "node-3").Learner || m.get(t, "canary") != "sings" {
		t.Errorf("%+v, canary %q", all, m.get(t, "canary"))
	}
}

// TestConformance has this way pass what every way to the members can do.
func TestConformance(t *testing.T) {
	t.Parallel()
	etcdtest.Run(t, func(t *testing.T) etcdtest.Lab {
		t.Helper()
		return start(t, 3)
	})
}

// Way implements etcdtest.Lab.
func (m *members) Way(nodes ...string) etcdtest.Way {
	way := m.cluster
	if len(nodes) > 0 {
		way.Nodes = nodes
	}
	return way
}

// Freeze implements etcdtest.Lab.
func (m *members) Freeze(node string) func() {
	process := m.nodes[node].process.Process
	_ = process.Signal(syscall.SIGSTOP)
	return func() { _ = process.Signal(syscall.SIGCONT) }
}

// Kill implements etcdtest.Lab: nobody answers any more, not even that nobody does.
func (m *members) Kill(node string) {
	m.nodes[node].deafening = true
	_ = m.nodes[node].process.Process.Kill()
}

// Put implements etcdtest.Lab.
func (m *members) Put(t *testing.T, key, value string) {
	t.Helper()
	m.put(t, key, value)
}

// Whoever has another authority is let in by nobody.
func TestAuthority(t *testing.T) {
	t.Parallel()
	m := start(t, 1)
	stranger := &members{T: t, dir: t.TempDir(), nodes: m.nodes}
	stranger.makeCertificates()
	stranger.cluster.Nodes = m.cluster.Nodes
	if all, err := stranger.cluster.Members(t.Context()); !errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("%+v, %v", all, err)
	}
}

func (m *members) client(t *testing.T, do func(context.Context, *clientv3.Client) error) {
	t.Helper()
	var endpoints []string
	for _, n := range m.nodes {
		endpoints = append(endpoints, strings.Replace("https://"+n.clients, "127.0.0.1", "localhost", 1)) // which the certificate is for
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: m.cluster.TLS, Logger: zap.NewNop(), DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := do(ctx, c); err != nil {
		t.Fatal(err)
	}
}

func (m *members) put(t *testing.T, key, value string) {
	t.Helper()
	m.client(t, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, key, value)
		return err
	})
}

func (m *members) get(t *testing.T, key string) (value string) {
	t.Helper()
	m.client(t, func(ctx context.Context, c *clientv3.Client) error {
		got, err := c.Get(ctx, key)
		if err == nil && len(got.Kvs) == 1 {
			value = string(got.Kvs[0].Value)
		}
		return err
	})
	return value
}
