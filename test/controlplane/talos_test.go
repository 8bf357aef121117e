// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
	simulator "github.com/ingot-project/cluster-api-provider-ingot/test/simulator/talos"
)

// TestTalos grows control planes of Talos from nothing, and replaces their Machines. Their machines are played
// (test/simulator/talos): all have the same config, and one of them makes etcd because it is told to. A second that did, which
// is the disaster of such control planes, ends the test. The manager dies when it tells the first one, before or after.
func TestTalos(t *testing.T) {
	t.Parallel()
	deaths := []death{{act: "etcd: found", nth: 1, after: true}}
	if *long {
		deaths = append(deaths, death{act: "etcd: found", nth: 1}, death{act: "patch *v1alpha1.IngotControlPlane", nth: 2}, death{act: "patch *v1alpha1.IngotControlPlane", nth: 2, after: true})
	}
	for _, d := range deaths {
		s := shape{name: "3-talos", replicas: 3, talos: true, death: &d}
		if *shapes != "" && *shapes != s.name {
			continue
		}
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, pace())
			if _, deaths := w.script.done(); deaths != 1 {
				t.Errorf("the manager was to be killed %s, and %d died", d, deaths)
			}
			w.sing()
			w.script.arm(&death{act: "etcd: remove", nth: 1, after: true})
			w.outdate(w.leader())
			w.rest()
			if _, deaths := w.script.done(); deaths != 1 {
				t.Errorf("the manager was to be killed when a member had left, and %d died", deaths)
			}
			if *long {
				w.killManagers()
				w.breakMembers()
			}
			w.sing()
			w.end()
			if w.founded != 1 {
				t.Errorf("etcd was made %d times", w.founded)
			}
		})
	}
}

// talosHost is a node behind the API of Talos.
type talosHost struct{ *node }

// serveTalos serves the API of the machine.
func (n *node) serveTalos() error {
	secrets, err := n.world.authority(n.ctx, certificates.Talos)
	if err != nil {
		return err
	}
	authority, err := tls.X509KeyPair(secrets.Data[talossecrets.CACertKey], secrets.Data[talossecrets.CAKeyKey])
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(n.ctx, "tcp", n.ip+":50001")
	if err != nil {
		return err
	}
	n.told = make(chan struct{}, 1)
	n.machine = &simulator.Machine{Name: n.name, Host: talosHost{n}}
	n.apiGate = &gate{
		lead:   func(context.Context) (string, string, error) { return n.ip + ":50001", n.name, nil },
		passes: func(string, string) bool { return !n.isCut() && !n.isGone() },
	}
	return errors.Join(n.machine.Serve(listener, n.ip, authority), n.apiGate.open(net.JoinHostPort(n.ip, simulator.Port)))
}

func (n *node) closeTalos() {
	if n.machine != nil {
		n.apiGate.close()
		n.machine.Stop()
	}
}

func (n *node) isGone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gone
}

// liveTalos does what a machine of Talos does: it makes etcd when it is told, and joins it where somebody serves. Its Node may be
// there before its member is.
func (n *node) liveTalos() error {
	for {
		select {
		case <-n.ctx.Done():
			return n.ctx.Err()
		case <-n.told:
			n.world.mu.Lock()
			n.world.founded++
			founded := n.world.founded
			n.world.mu.Unlock()
			if founded > 1 {
				n.world.accuse("%s makes etcd a second time", n.name)
			}
			n.world.note("%s makes etcd", n.name)
			return n.initialize()
		case <-time.After(300 * time.Millisecond):
			if n.world.through(func(*clientv3.Client) error { return nil }) != nil {
				continue
			}
			if err := n.try(n.registerEarly); err != nil {
				return err
			}
			return n.join()
		}
	}
}

// registerEarly makes the Node, which runs nothing yet.
func (n *node) registerEarly(ctx context.Context) error {
	c, err := n.world.connect(ctx)
	if err != nil {
		return err
	}
	return client.IgnoreAlreadyExists(c.Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}},
		Spec:       corev1.NodeSpec{ProviderID: n.providerID},
	}))
}

// State implements simulator.Host.
func (h talosHost) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.left:
		return simulator.Finished
	case h.process != nil:
		return simulator.Running
	case h.args == nil:
		return simulator.Preparing
	default:
		return simulator.Failed
	}
}

// HasData implements simulator.Host.
func (h talosHost) HasData() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.args != nil && !h.left
}

// Found implements simulator.Host.
func (h talosHost) Found(snapshot []byte) error {
	if snapshot != nil {
		return errors.New("nobody restores anything here")
	}
	select {
	case h.told <- struct{}{}:
		return nil
	default:
		return errors.New("it is being told already")
	}
}

// Local implements simulator.Host.
func (h talosHost) Local(do func(*clientv3.Client) error) error {
	c, err := h.direct()
	if err != nil {
		return err
	}
	return do(c)
}

// Through implements simulator.Host.
func (h talosHost) Through(do func(*clientv3.Client) error) error { return h.world.through(do) }

// Clear implements simulator.Host.
func (h talosHost) Clear() error {
	h.mu.Lock()
	h.left, h.removed = true, true
	h.mu.Unlock()
	h.kill()
	h.world.note("%s has left etcd", h.name)
	return os.RemoveAll(filepath.Join(h.dir(), "data"))
}
