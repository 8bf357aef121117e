// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd/etcdtest"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/talos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
	simulator "github.com/ingot-project/cluster-api-provider-ingot/test/simulator/talos"
)

var labs atomic.Int32

// lab is machines that are played, with real members of etcd, and the secrets of their cluster.
type lab struct {
	*testing.T
	simulator.Lab

	number  int32
	secrets talossecrets.Secrets
	hosts   map[string]*simulator.LabHost
	nodes   []talos.Node
}

func newLab(t *testing.T) *lab {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	programs, err := builder.Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, number: labs.Add(1), hosts: map[string]*simulator.LabHost{}}
	if l.secrets, err = talossecrets.New(time.Now()); err != nil {
		t.Fatal(err)
	}
	l.Program, l.Dir = programs["etcd"], t.TempDir()
	if l.Authority, err = tls.X509KeyPair(l.secrets.CACert, l.secrets.CAKey); err != nil {
		t.Fatal(err)
	}
	return l
}

// boot starts a machine.
func (l *lab) boot(name string) *simulator.LabHost {
	l.Helper()
	ip := fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%128, 200+l.number, 1+len(l.hosts))
	h, err := l.Boot(l.Context(), name, ip)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(h.Lose)
	l.hosts[name] = h
	l.nodes = append(l.nodes, talos.Node{Name: name, Addresses: []string{ip}})
	return h
}

// as is the cluster as somebody with a role sees it.
func (l *lab) as(role talossecrets.Role, secrets talossecrets.Secrets) talos.Cluster {
	l.Helper()
	cert, key, err := talossecrets.ClientCertificate(secrets.CACert, secrets.CAKey, []talossecrets.Role{role}, time.Now(), time.Hour)
	if err != nil {
		l.Fatal(err)
	}
	identity, err := tls.X509KeyPair(cert, key)
	if err != nil {
		l.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secrets.CACert)
	return talos.Cluster{Nodes: l.nodes, TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{identity}}}
}

func (l *lab) admin() talos.Cluster {
	l.Helper()
	return l.as(talossecrets.RoleAdmin, l.secrets)
}

// machine is one machine alone.
func (l *lab) machine(name string) talos.Machine {
	l.Helper()
	c := l.admin()
	c.Nodes = slices.DeleteFunc(slices.Clone(c.Nodes), func(n talos.Node) bool { return n.Name != name })
	return talos.Machine{Cluster: c}
}

// until waits until the members are as they should be.
func (l *lab) until(what string, is func([]plan.Member) bool) []plan.Member {
	l.Helper()
	return etcdtest.Until(l.T, l.admin(), what, is)
}

// start starts three machines with a member each.
func start(t *testing.T) etcdtest.Lab {
	t.Helper()
	l := newLab(t)
	l.boot("a")
	l.found("a")
	for _, name := range []string{"b", "c"} {
		l.boot(name)
		l.until(name+" joins", etcdtest.Whole(len(l.hosts)))
	}
	return l
}

// TestConformance has this way pass what every way to the members can do.
func TestConformance(t *testing.T) {
	t.Parallel()
	etcdtest.Run(t, start)
}

// Way implements etcdtest.Lab.
func (l *lab) Way(nodes ...string) etcdtest.Way {
	way := l.admin()
	if len(nodes) > 0 {
		way.Nodes = nil
		for _, name := range nodes {
			way.Nodes = append(way.Nodes, talos.Node{Name: name, Addresses: []string{"127.0.0.254"}})
		}
	}
	return way
}

// Freeze implements etcdtest.Lab.
func (l *lab) Freeze(node string) func() { return l.hosts[node].Freeze() }

// Kill implements etcdtest.Lab.
func (l *lab) Kill(node string) { l.hosts[node].Lose() }

// Put implements etcdtest.Lab.
func (l *lab) Put(t *testing.T, key, value string) {
	t.Helper()
	for _, h := range l.hosts {
		err := h.Through(func(c *clientv3.Client) error {
			_, err := c.Put(t.Context(), key, value)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

// found has the first machine make etcd, as the reconciler does.
func (l *lab) found(name string) {
	l.Helper()
	m := l.machine(name)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		state, _, err := m.Look(l.Context())
		if state == plan.FoundingDone {
			return
		}
		if state == plan.FoundingWanted && l.hosts[name].Asked.Load() == 0 {
			err = m.Found(l.Context())
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	l.Fatal("etcd is never made")
}

// One machine makes etcd, however often it is told, and the others find it. What is meant for one machine never reaches another
// that has its address now: that would make a second cluster, or end a member that nobody wanted to go.
func TestFound(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.boot("first")
	if state, message, err := l.machine("first").Look(t.Context()); state != plan.FoundingWanted || message != "" || err != nil {
		t.Fatalf("a machine that waits says %q, %q, %v", state, message, err)
	}
	mistaken := l.machine("first")
	mistaken.Nodes = []talos.Node{{Name: "another", Addresses: l.nodes[0].Addresses}}
	if err := mistaken.Found(t.Context()); err == nil || first.Asked.Load() != 0 {
		t.Errorf("a machine was told what was meant for another: %v", err)
	}
	l.found("first")
	l.until("there is one member", etcdtest.Whole(1))
	if err := l.machine("first").Found(t.Context()); err != nil {
		t.Errorf("telling it again: %v", err)
	}
	second := l.boot("second")
	l.until("another joins", etcdtest.Whole(2))
	if state, _, err := l.machine("second").Look(t.Context()); state != plan.FoundingDone || err != nil {
		t.Errorf("one that has joined says %q, %v", state, err)
	}
	if first.Founded.Load() != 1 || second.Founded.Load() != 0 {
		t.Errorf("etcd was made %d times by the first and %d times by the second", first.Founded.Load(), second.Founded.Load())
	}
	silent := l.machine("first")
	silent.Nodes = []talos.Node{{Name: "first", Addresses: []string{"127.0.0.254"}}}
	if state, message, err := silent.Look(t.Context()); state != plan.FoundingWaits || message == "" || err == nil {
		t.Errorf("of a machine that nobody reaches it is said %q, %q, %v", state, message, err)
	}
}

// All machines are lost, and a new one makes etcd from the last snapshot: once, however often it is told, and from nothing
// that is not whole.
func TestRecover(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("a")
	l.found("a")
	l.boot("b")
	l.until("b joins", etcdtest.Whole(2))
	l.Put(t, "canary", "sings")
	taken := &etcdtest.Sink{}
	if _, err := l.admin().Snapshot(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.hosts {
		h.Lose()
	}
	l.nodes = nil
	next := l.boot("c")
	m := l.machine("c")
	if err := m.Recover(t.Context(), io.MultiReader(bytes.NewReader(taken.Bytes()[:taken.Len()/2]), iotest.ErrReader(errors.New("the manager is killed")))); err == nil || next.Asked.Load() != 0 {
		t.Fatalf("a snapshot that breaks off: %v, and the machine was told %d times", err, next.Asked.Load())
	}
	if state, _, err := m.Look(t.Context()); state != plan.FoundingWanted || err != nil {
		t.Fatalf("after that it says %q, %v", state, err)
	}
	mistaken := l.machine("c")
	mistaken.Nodes = []talos.Node{{Name: "another", Addresses: l.nodes[0].Addresses}}
	if err := mistaken.Recover(t.Context(), bytes.NewReader(taken.Bytes())); err == nil || next.Asked.Load() != 0 {
		t.Errorf("a machine was told what was meant for another: %v", err)
	}
	for range 2 {
		if err := m.Recover(t.Context(), bytes.NewReader(taken.Bytes())); err != nil {
			t.Fatal(err)
		}
		all := l.until("there is one member", etcdtest.Whole(1))
		if all[0].Name != "c" || all[0].Misplaced {
			t.Errorf("the member is %+v", all[0])
		}
	}
	if next.Founded.Load() != 1 {
		t.Errorf("etcd was made %d times", next.Founded.Load())
	}
	l.expect(next, "canary", "sings")
	l.boot("d")
	l.until("another joins what was restored", etcdtest.Whole(2))
	l.expect(next, "canary", "sings")

	broken := bytes.Clone(taken.Bytes())
	broken[len(broken)/2] ^= 1
	other := newLab(t)
	other.boot("e")
	if err := other.machine("e").Recover(t.Context(), bytes.NewReader(broken)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		state, message, err := other.machine("e").Look(t.Context())
		if state == plan.FoundingWaits && strings.Contains(message, simulator.Failed) && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("of a snapshot with one bit that has turned it is said: %q, %q, %v", state, message, err)
		}
	}
}

// expect fails unless a member has a key.
func (l *lab) expect(h *simulator.LabHost, key, value string) {
	l.Helper()
	err := h.Local(func(c *clientv3.Client) error {
		got, err := c.Get(l.Context(), key)
		if err == nil && (len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value) {
			err = fmt.Errorf("%s is %+v", key, got.Kvs)
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
}

// A member is replaced: leadership goes first, the member leaves by itself and keeps nothing, and one whose machine is lost is
// removed through another.
func TestReplace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("a")
	l.found("a")
	for _, name := range []string{"b", "c", "d"} {
		l.boot(name)
		l.until(name+" joins", etcdtest.Whole(len(l.hosts)))
	}
	all := l.until("there are four", etcdtest.Whole(4))
	for range 2 { // a manager that was killed does it again
		if err := l.admin().MoveLeader(t.Context(), etcdtest.Leader(all), plan.Member{}); err != nil {
			t.Fatal(err)
		}
	}
	old := etcdtest.Leader(all)
	l.until("another leads", func(now []plan.Member) bool {
		return etcdtest.Leader(now).Name != "" && etcdtest.Leader(now).Name != old.Name
	})

	mistaken := l.admin()
	mistaken.Nodes = slices.Clone(mistaken.Nodes)
	other := slices.IndexFunc(mistaken.Nodes, func(n talos.Node) bool { return n.Name != old.Name })
	gone := slices.IndexFunc(mistaken.Nodes, func(n talos.Node) bool { return n.Name == old.Name })
	keeps := mistaken.Nodes[other].Name
	mistaken.Nodes[gone].Addresses = mistaken.Nodes[other].Addresses
	etcdtest.Remove(t, mistaken, old) // through another, because its own machine is not where it should be
	l.until("it is none any more", etcdtest.Whole(3))
	if l.hosts[keeps].State() != simulator.Running {
		t.Errorf("the member of %s has left, which was never asked", keeps)
	}
	all = l.until("there are three", etcdtest.Whole(3))
	left := all[0]
	etcdtest.Remove(t, talos.Leaver{Cluster: l.admin()}, left)
	for range 2 { // a manager that was killed does it again
		etcdtest.Remove(t, l.admin(), left)
	}
	l.until("it has left", etcdtest.Whole(2))
	if h := l.hosts[left.Name]; h.State() != simulator.Finished || h.HasData() {
		t.Errorf("a member that has left is %s, and has data: %t", h.State(), h.HasData())
	}
	if err := l.admin().Promote(t.Context(), all[1]); err == nil {
		t.Error("Talos lets nobody promote, and nothing is said")
	}
}

// What was agreed on is settled when something is written after it, and whoever of them does that.
func TestSettle(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("a")
	l.found("a")
	all := l.until("there is one", etcdtest.Whole(1))
	quiet, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := l.admin().Settle(quiet); err == nil {
		t.Error("nothing was written, and it is called settled")
	}
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for i := 0; writing.Err() == nil; i++ {
			_ = l.hosts[all[0].Name].Local(func(c *clientv3.Client) error {
				_, err := c.Put(writing, "lease", strconv.Itoa(i))
				return err
			})
		}
	}()
	if err := l.admin().Settle(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whoever has another authority is let in by nobody, and whoever is no administrator changes nothing.
func TestAuthority(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("a")
	l.found("a")
	all := l.until("there is one", etcdtest.Whole(1))
	stranger, err := talossecrets.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.as(talossecrets.RoleAdmin, stranger).Members(t.Context()); !errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("a stranger is told: %v", err)
	}
	reader := l.as(talossecrets.RoleReader, l.secrets)
	if _, err := reader.Members(t.Context()); err != nil {
		t.Errorf("a reader is not told: %v", err)
	}
	err = reader.Remove(t.Context(), all[0])
	if err == nil {
		t.Fatal("a reader removes a member")
	}
	if !strings.Contains(err.Error(), "does not leave by itself") || strings.Count(err.Error(), "not authorized") != 2 {
		t.Errorf("a member is first asked to leave, and then removed through another: %v", err)
	}
	if err := (talos.Machine{Cluster: reader}).Found(t.Context()); err == nil {
		t.Error("a reader tells a machine to make etcd")
	}
}
