// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Lab is the machines of one control plane, each with a member of etcd in a process of its own.
type Lab struct {
	// Program is etcd, Dir a folder for what members keep.
	Program, Dir string
	// Authority is that of Talos' API, with its Leaf.
	Authority tls.Certificate

	mu    sync.Mutex
	hosts []*LabHost
}

// LabHost is one machine of a Lab.
type LabHost struct {
	*Machine

	// IP is where it is.
	IP string

	lab   *Lab
	end   context.CancelFunc
	lost  atomic.Bool
	tells chan []byte

	mu      sync.Mutex
	process *exec.Cmd
	reaped  chan struct{}
	state   string
}

// Boot starts a machine at an address of loopback: it waits to be told, or joins a member that serves.
func (l *Lab) Boot(ctx context.Context, name, ip string) (*LabHost, error) {
	h := &LabHost{Machine: &Machine{Name: name}, IP: ip, lab: l, state: Preparing, tells: make(chan []byte, 1)}
	h.Host = h
	life, end := context.WithCancel(ctx)
	h.end = end
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(ip, Port))
	if err != nil {
		return nil, err
	}
	if err := h.Serve(listener, ip, l.Authority); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	go h.live(life)
	return h, nil
}

// live is what the service etcd does.
func (h *LabHost) live(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case brought := <-h.tells:
			if brought != nil {
				if err := h.recover(brought); err != nil {
					h.fail()
					return
				}
			}
			h.run(ctx, "new", h.Name+"="+h.peer())
			return
		case <-time.After(200 * time.Millisecond):
			if initial, id, err := h.join(ctx); err == nil {
				h.run(ctx, "existing", initial)
				h.promote(ctx, id)
				return
			}
		}
	}
}

// recover makes the data of a member from a snapshot.
func (h *LabHost) recover(content []byte) error {
	file := h.data() + ".snapshot"
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: h.Name, OutputDataDir: h.data(), PeerURLs: []string{h.peer()}, InitialCluster: h.Name + "=" + h.peer(), InitialClusterToken: "etcd-cluster",
	})
}

func (h *LabHost) fail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = Failed
}

// join adds the member of the machine as a learner.
func (h *LabHost) join(ctx context.Context) (initial string, id uint64, err error) {
	err = h.Through(func(c *clientv3.Client) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		added, err := c.MemberAddAsLearner(ctx, []string{h.peer()})
		if err != nil {
			return err
		}
		id = added.Member.ID
		var all []string
		for _, m := range added.Members {
			name := m.Name
			if m.ID == id {
				name = h.Name
			}
			all = append(all, name+"="+m.PeerURLs[0])
		}
		initial = strings.Join(all, ",")
		return nil
	})
	return initial, id, err
}

// promote gets the member its vote.
func (h *LabHost) promote(ctx context.Context, id uint64) {
	for ctx.Err() == nil {
		err := h.Through(func(c *clientv3.Client) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := c.MemberPromote(ctx, id)
			return err
		})
		if err == nil || errors.Is(err, rpctypes.ErrMemberNotLearner) || errors.Is(err, rpctypes.ErrMemberNotFound) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (h *LabHost) peer() string   { return "http://" + net.JoinHostPort(h.IP, "2380") }
func (h *LabHost) client() string { return "http://" + net.JoinHostPort(h.IP, "2379") }
func (h *LabHost) data() string   { return filepath.Join(h.lab.Dir, h.Name) }

// run runs the member.
func (h *LabHost) run(ctx context.Context, state, initial string) {
	process := exec.CommandContext(ctx, h.lab.Program, "--name", h.Name, "--data-dir", h.data(),
		"--listen-client-urls", h.client(), "--advertise-client-urls", h.client(),
		"--listen-peer-urls", h.peer(), "--initial-advertise-peer-urls", h.peer(),
		"--initial-cluster", initial, "--initial-cluster-state", state, "--unsafe-no-fsync", "--log-level", "error")
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := process.Start(); err != nil {
		h.state = Failed
		return
	}
	// Talos starts it again; one that was removed ends again and again.
	reaped := make(chan struct{})
	h.process, h.reaped, h.state = process, reaped, Running
	go func() {
		_ = process.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.state == Running {
			h.state = Failed
		}
		close(reaped)
	}()
}

// Kill kills the member, and leaves the API and the data.
func (h *LabHost) Kill() {
	h.mu.Lock()
	process, reaped := h.process, h.reaped
	h.mu.Unlock()
	if process != nil {
		_ = process.Process.Kill()
		<-reaped
	}
}

// Freeze has the member stand still until thaw is called; the API goes on.
func (h *LabHost) Freeze() (thaw func()) {
	h.mu.Lock()
	process := h.process
	h.mu.Unlock()
	_ = process.Process.Signal(syscall.SIGSTOP)
	return func() { _ = process.Process.Signal(syscall.SIGCONT) }
}

// Lose ends the machine for ever.
func (h *LabHost) Lose() {
	h.lost.Store(true)
	h.end()
	h.Stop()
	h.Kill()
}

// State implements Host.
func (h *LabHost) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// HasData implements Host.
func (h *LabHost) HasData() bool {
	entries, err := os.ReadDir(h.data())
	return err == nil && len(entries) > 0
}

// Found implements Host.
func (h *LabHost) Found(brought []byte) error {
	select {
	case h.tells <- brought:
		return nil
	default:
		return errors.New("it is being told already")
	}
}

// Local implements Host.
func (h *LabHost) Local(do func(*clientv3.Client) error) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{h.client()}, Logger: zap.NewNop(), DialTimeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return do(c)
}

// Through implements Host.
func (h *LabHost) Through(do func(*clientv3.Client) error) error {
	h.lab.mu.Lock()
	hosts := slices.Clone(h.lab.hosts)
	h.lab.mu.Unlock()
	errs := []error{errors.New("no member serves")}
	for _, other := range hosts {
		if other.lost.Load() || other.State() != Running {
			continue
		}
		err := other.Local(do)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", other.Name, err))
	}
	return errors.Join(errs...)
}

// Clear implements Host.
func (h *LabHost) Clear() error {
	h.Kill()
	h.mu.Lock()
	h.state = Finished
	h.mu.Unlock()
	return os.RemoveAll(h.data())
}
