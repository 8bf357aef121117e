// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"

	simulator "github.com/ingot-project/cluster-api-provider-ingot/test/simulator/talos"
)

// stage is how far a node has come.
type stage int

const (
	booting stage = iota
	added
	started
	promoted
	registered
)

// node is what boots in the instance of one Machine: a member of etcd, and what kubeadm and the kubelet do around it.
type node struct {
	world      *world
	name       string
	ip         string
	providerID string
	// peers and clients are where others reach the member; it listens behind them.
	peers, clients *gate
	// machine is the API of Talos, apiGate where others reach it, told what it was told through it; nil where it runs no Talos.
	machine *simulator.Machine
	apiGate *gate
	told    chan struct{}
	// ctx ends with the node: kubeadm does nothing more then.
	ctx context.Context //nolint:containedctx // a node is a life of its own, which ends when the platform says so
	end context.CancelFunc

	mu      sync.Mutex
	args    []string
	process *exec.Cmd
	reaped  chan struct{}
	client  *clientv3.Client
	id      uint64
	stage   stage
	// frozen, cut and deaf are what is wrong with it: it does not run on, nobody of the network reaches it, its kubelet is
	// dead. gone is whether it never comes back.
	frozen, cut, deaf, gone bool
	// down is whether the member was killed and stays so until the node is healed; one that ends by itself is started again by
	// its kubelet, each time later.
	down  bool
	crash int
	// ready is what its kubelet last found of the member.
	ready corev1.ConditionStatus
	// removed is whether it is no member any more, and stopped whether its instance is gone.
	removed, stopped bool
	// left is whether its member has left and its data are gone.
	left bool
	// failure is why its join failed, for ever.
	failure error
}

func (n *node) clientAddress() string { return n.ip + ":2379" }
func (n *node) peerAddress() string   { return n.ip + ":2380" }
func (n *node) clientURL() string     { return "https://" + n.ip + ":2389" }
func (n *node) peerURL() string       { return "http://" + n.ip + ":2390" }
func (n *node) dir() string           { return shared.folder(n.world.namespace, n.name) }

// newNode opens the ports of a node.
func newNode(w *world, name string) (*node, error) {
	n := &node{world: w, name: name, ip: w.address()}
	n.ctx, n.end = context.WithCancel(w.Context())
	if err := os.MkdirAll(n.dir(), 0o700); err != nil {
		return nil, err
	}
	n.peers = &gate{
		asks:   true,
		lead:   func(context.Context) (string, string, error) { return n.peerAddress(), n.name, nil },
		passes: func(from, _ string) bool { return !n.isCut() && !w.isCut(from) },
	}
	n.clients = &gate{
		lead:   func(context.Context) (string, string, error) { return n.clientAddress(), n.name, nil },
		passes: func(string, string) bool { return !n.isCut() },
	}
	if err := errors.Join(n.peers.open(n.ip+":2390"), n.clients.open(n.ip+":2389")); err != nil || !w.shape.talos {
		return n, err
	}
	return n, n.serveTalos()
}

func (n *node) isCut() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut
}

func (n *node) at() stage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stage
}

// well is whether the member runs and others reach it.
func (n *node) well() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && !n.frozen && !n.cut && !n.stopped
}

// serves is whether the API server of the node can use its member.
func (n *node) serves() bool {
	n.mu.Lock()
	votes := n.stage >= promoted && !n.removed
	n.mu.Unlock()
	return votes && n.well()
}

// trouble says what is wrong with it, empty where nothing is.
func (n *node) trouble() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var is []string
	for _, t := range []struct {
		is   bool
		what string
	}{{n.process == nil, "not running"}, {n.frozen, "frozen"}, {n.cut, "cut off"}, {n.deaf, "kubelet dead"}, {n.gone, "for ever"}, {n.failure != nil, fmt.Sprint(n.failure)}} {
		if t.is {
			is = append(is, t.what)
		}
	}
	return strings.Join(is, ", ")
}

// run starts the member, the first time with the members that there are.
func (n *node) run(state string, initial []string) error {
	pki := func(name string) string { return filepath.Join(n.world.pki(), name) }
	n.mu.Lock()
	if n.args == nil {
		n.args = []string{
			"--name", n.name, "--data-dir", filepath.Join(n.dir(), "data"),
			"--listen-client-urls", "https://" + n.clientAddress(), "--advertise-client-urls", n.clientURL(),
			"--listen-peer-urls", "http://" + n.peerAddress(), "--initial-advertise-peer-urls", n.peerURL(),
			"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", state,
			"--cert-file", pki("etcd.crt"), "--key-file", pki("etcd.key"), "--trusted-ca-file", pki("etcd-ca.crt"), "--client-cert-auth",
			"--unsafe-no-fsync", "--log-level", "warn",
		}
	}
	n.mu.Unlock()
	return n.restart()
}

// restart runs the member as it ran before.
func (n *node) restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil || n.stopped || n.gone || n.left || n.args == nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(n.dir(), "etcd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	process := exec.Command(shared.programs["etcd"], n.args...)
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	reaped := make(chan struct{})
	n.process, n.reaped = process, reaped
	go func() {
		_ = process.Wait()
		n.mu.Lock()
		if n.process == process {
			n.process, n.frozen = nil, false
		}
		n.mu.Unlock()
		close(reaped)
		n.world.severAPI(n)
		n.startAgain()
	}()
	return nil
}

// startAgain does what the kubelet does with a member that ended: a learner ends when it asks the others who they are, and they
// do not answer.
func (n *node) startAgain() {
	n.mu.Lock()
	n.crash++
	pause := time.Second << min(n.crash-1, 4)
	n.mu.Unlock()
	select {
	case <-n.world.Context().Done():
		return
	case <-time.After(pause):
	}
	n.mu.Lock()
	leave := n.down || n.deaf || n.removed
	n.mu.Unlock()
	if leave {
		return
	}
	if err := n.restart(); err != nil {
		n.world.note("starting %s again: %v", n.name, err)
	}
}

// kill kills the member's process and returns when it is gone.
func (n *node) kill() {
	n.mu.Lock()
	n.down = true
	process, reaped := n.process, n.reaped
	n.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Process.Kill()
	<-reaped
}

// freeze stops the member's process where it is.
func (n *node) freeze() {
	n.mu.Lock()
	if n.process != nil {
		n.frozen = true
		_ = n.process.Process.Signal(syscall.SIGSTOP)
	}
	n.mu.Unlock()
	n.world.severAPI(n)
}

// partition cuts the node off from all others, in both directions.
func (n *node) partition() {
	n.mu.Lock()
	n.cut = true
	n.mu.Unlock()
	n.world.severAPI(n)
}

// deafen kills the kubelet: nobody is forwarded to the member, which goes on.
func (n *node) deafen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf = true
}

func (n *node) isDeaf() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deaf
}

// perish ends the node for ever, whatever it is doing.
func (n *node) perish() {
	n.mu.Lock()
	n.gone = true
	n.mu.Unlock()
	n.end()
	n.kill()
}

// heal undoes whatever is wrong with a node that is not gone.
func (n *node) heal() error {
	n.mu.Lock()
	if n.frozen && n.process != nil {
		_ = n.process.Process.Signal(syscall.SIGCONT)
	}
	n.frozen, n.cut, n.deaf, n.down, n.crash = false, false, false, false, 0
	n.mu.Unlock()
	for _, other := range n.world.all() {
		other.peers.sweep()
	}
	n.clients.sweep()
	if n.apiGate != nil {
		n.apiGate.sweep()
	}
	return n.restart()
}

// stop is what the platform does to an instance that is deleted.
func (n *node) stop() {
	n.mu.Lock()
	n.stopped = true
	client := n.client
	n.mu.Unlock()
	n.end()
	n.kill()
	n.peers.close()
	n.clients.close()
	n.closeTalos()
	n.world.severAPI(n)
	if client != nil {
		_ = client.Close()
	}
	_ = os.RemoveAll(filepath.Join(n.dir(), "data"))
}

// direct is a client of the member that goes through no gate.
func (n *node) direct() (*clientv3.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.client != nil {
		return n.client, nil
	}
	identity, err := n.world.identity()
	if err != nil {
		return nil, err
	}
	n.client, err = clientv3.New(clientv3.Config{
		// Members have a certificate for this name.
		Endpoints: []string{"https://localhost"}, TLS: identity, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", n.clientAddress())
		})},
	})
	return n.client, err
}

// advance notes how far the node has come and lets the story happen.
func (n *node) advance(to stage, event string) {
	n.mu.Lock()
	n.stage = to
	n.mu.Unlock()
	n.world.happened(event, n)
}

// initialize does what kubeadm init does.
func (n *node) initialize() error {
	if err := n.world.writeCertificates(n.ctx); err != nil {
		return err
	}
	if err := n.run("new", []string{n.name + "=" + n.peerURL()}); err != nil {
		return err
	}
	err := n.try(func(ctx context.Context) error {
		client, err := n.direct()
		if err != nil {
			return err
		}
		listed, err := client.MemberList(ctx)
		if err == nil {
			n.mu.Lock()
			n.id, n.stage = listed.Members[0].ID, promoted
			n.mu.Unlock()
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := n.world.startAPIServer(n.ctx); err != nil {
		return err
	}
	return n.register()
}

// join does what kubeadm join does for a control plane node.
func (n *node) join() error {
	var members *clientv3.MemberAddResponse
	err := n.try(func(ctx context.Context) error {
		return n.world.through(func(client *clientv3.Client) (err error) {
			members, err = client.MemberAddAsLearner(ctx, []string{n.peerURL()})
			return err
		})
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.id = members.Member.ID
	n.mu.Unlock()
	n.advance(added, "added")
	var initial []string
	for _, m := range members.Members {
		name := m.Name
		if m.ID == n.id {
			name = n.name
		}
		if name == "" { // as kubeadm calls those that never started
			name = strconv.FormatUint(m.ID, 16)
		}
		initial = append(initial, name+"="+m.PeerURLs[0])
	}
	if n.ctx.Err() != nil {
		return n.ctx.Err()
	}
	if err := n.run("existing", initial); err != nil {
		return err
	}
	n.advance(started, "started")
	if err := n.promote(); err != nil {
		return err
	}
	n.advance(promoted, "promoted")
	if err := n.try(n.answers); err != nil {
		return err
	}
	return n.register()
}

// answers is what kubeadm waits for before it goes on. A member that began with a snapshot answers nobody for 7 seconds: what it
// first says of itself is lost, and etcd waits so long to say it again.
func (n *node) answers(ctx context.Context) error {
	c, err := n.direct()
	if err == nil {
		_, err = c.Status(ctx, c.Endpoints()[0])
	}
	return err
}

// promote asks for a vote until it is given, or the member is none any more.
func (n *node) promote() error {
	return n.try(func(ctx context.Context) error {
		err := n.world.through(func(client *clientv3.Client) error {
			_, err := client.MemberPromote(ctx, n.id)
			return err
		})
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrMemberNotLearner):
			return nil
		case errors.Is(err, rpctypes.ErrMemberNotFound):
			return fmt.Errorf("%w: its member was removed while it joined", errJoinFailed)
		default:
			return err
		}
	})
}

var errJoinFailed = errors.New("the join failed")

// register does what the kubelet does, through the API server.
func (n *node) register() error {
	if err := n.try(func(ctx context.Context) error { return n.world.registerNode(ctx, n) }); err != nil {
		return err
	}
	n.advance(registered, "registered")
	return nil
}

// try tries until it succeeds, fails for good, or the node ends.
func (n *node) try(do func(ctx context.Context) error) error {
	last := ""
	for {
		ctx, cancel := context.WithTimeout(n.ctx, 5*time.Second)
		err := do(ctx)
		cancel()
		if err == nil || errors.Is(err, errJoinFailed) {
			return err
		}
		if said := err.Error(); said != last && n.ctx.Err() == nil {
			last = said
			n.world.note("%s tries again: %.300s", n.name, said)
		}
		select {
		case <-n.ctx.Done():
			return n.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// boot is the life of a node, as far as kubeadm goes.
func (n *node) boot(first bool) {
	do := n.join
	switch {
	case n.world.shape.talos:
		do = n.liveTalos
	case first:
		do = n.initialize
	}
	if err := do(); err != nil && n.ctx.Err() == nil {
		n.world.note("the join of %s fails: %v", n.name, err)
		n.mu.Lock()
		n.failure = err
		n.mu.Unlock()
	}
}
