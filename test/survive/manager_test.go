// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/machine"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// act is something that a manager does to the world outside it.
type act struct {
	// name says what, in the same words each time.
	name string
	// call is whether it is a call of the platform; else it is a write to the API.
	call bool
	// reads is whether it changes nothing.
	reads bool
}

// death is how a manager ends: at the nth change with a name, before it, while it is under way, or after it; or at a read
// that comes so many acts after that change, or with the next change if there are fewer. Without a name the reads are
// counted from the start.
type death struct {
	name  string
	nth   int
	reads int
	when  wire.Verdict
}

// String says how in words.
func (d *death) String() string {
	when := map[wire.Verdict]string{wire.CutBefore: "before", wire.CutDuring: "during", wire.CutAfter: "after"}[d.when]
	what := fmt.Sprintf("%s (%d)", d.name, d.nth)
	if d.name == "" {
		what = "the start"
	}
	if d.reads > 0 {
		return fmt.Sprintf("%s read %d after %s", when, d.reads, what)
	}
	return when + " " + what
}

// manager is one process of the manager, without queues and caches. What it remembers goes with it.
type manager struct {
	clock    *ahead
	writes   *builder.Writes
	wire     *wire.Proxy
	sessions *session.Registry

	machines  *machine.Reconciler
	replicas  *imagereplica.Reconciler
	endpoints *platformendpoint.Reconciler

	mu    sync.Mutex
	acts  []act
	count map[string]int
	// reads are counted from the last change, which was the nth with its name.
	reads   int
	last    string
	lastNth int
	// death is how it is to end; nil if it is not.
	death *death
	dead  bool
	// copies is how many copies have ended.
	copies int
}

// newManager starts a manager that reaches libvirtd over a wire of its own. It ends with the test.
func newManager(t *testing.T, h *host, api client.WithWatch, clk *ahead, end *death) *manager {
	t.Helper()
	m := &manager{clock: clk, count: map[string]int{}, death: end}
	var err error
	if m.wire, err = wire.New(h.libvirt.Socket, m.judgeCall); err != nil {
		t.Fatal(err)
	}
	m.writes = &builder.Writes{Judge: m.judgeWrite}
	m.sessions = session.NewRegistry(m.open).WithClock(clk)
	m.sessions.Listen(m.hear)
	t.Cleanup(func() {
		m.kill()
		m.sessions.Close()
		m.wire.Close()
	})
	through := m.writes.Through(api)
	recorder := &events.FakeRecorder{}
	m.machines = &machine.Reconciler{
		Client: through, SecretReader: api, MachineReader: api, Sessions: m.sessions, Workload: noWorkload{},
		Families: map[ingotv1.OSFamily]osfamily.Family{ingotv1.OSFamilyGeneric: onDisc{generic.New()}},
		Recorder: recorder, Clock: clk,
	}
	m.replicas = &imagereplica.Reconciler{Client: through, Sessions: m.sessions, MachineReader: api, Recorder: recorder, Clock: clk, Random: rand.Float64}
	m.endpoints = &platformendpoint.Reconciler{
		Client: through, Sessions: m.sessions, SecretReader: api, MachineReader: api, SeesAllMachines: true, Recorder: recorder, Clock: clk, Random: rand.Float64,
	}
	return m
}

// open opens the real session and waits until it is there, or the manager dead, so that a journey is the same each time.
func (m *manager) open(settings session.Settings, events func(platform.Event)) (session.Session, error) {
	s, err := libvirt.Open(context.Background(), libvirt.Config{
		URI: m.wire.URI(), Acceleration: libvirt.Acceleration(settings.Spec.Libvirt.Acceleration), Clock: m.clock, Log: logr.Discard(),
	}, events)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); !s.Status().Connected && !m.isDead() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return s, nil
}

// hear is told of events, in place of the queues.
func (m *manager) hear(_ string, event platform.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if event.ImageSHA256 != "" {
		m.copies++
	}
}

// copied is how many copies have ended.
func (m *manager) copied() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copies
}

func (m *manager) judgeCall(message wire.Message) wire.Verdict {
	return m.judge(act{name: message.String(), call: true, reads: message.Kind == wire.Call && message.Procedure.Reads()})
}

func (m *manager) judgeWrite(name string) (dies, reaches bool) {
	switch m.judge(act{name: name}) {
	case wire.Pass:
		return false, false
	case wire.CutBefore:
		m.wire.Sever()
		return true, false
	default:
		m.wire.Sever()
		return true, true
	}
}

// judge keeps the list of what was done, and ends the manager at the act of its death. Nothing that is dead acts.
func (m *manager) judge(a act) wire.Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return wire.CutBefore
	}
	m.acts = append(m.acts, a)
	when := m.ends(a)
	if when == wire.Pass {
		return wire.Pass
	}
	m.dead = true
	if a.call {
		m.writes.Kill()
	}
	return when
}

// ends counts an act, and says whether the manager ends at it.
func (m *manager) ends(a act) wire.Verdict {
	followed := m.death != nil && m.death.name == m.last && m.death.nth == m.lastNth
	if a.reads {
		if m.reads++; followed && m.death.reads == m.reads {
			return m.death.when
		}
		return wire.Pass
	}
	if followed && m.death.reads > m.reads {
		return wire.CutBefore // the read is left out this time
	}
	m.count[a.name]++
	m.last, m.lastNth, m.reads = a.name, m.count[a.name], 0
	if m.death != nil && m.death.reads == 0 && m.death.name == m.last && m.death.nth == m.lastNth {
		return m.death.when
	}
	return wire.Pass
}

// kill ends the manager between two acts.
func (m *manager) kill() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	m.writes.Kill()
	m.wire.Sever()
}

func (m *manager) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *manager) done() []act {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]act{}, m.acts...)
}

// onDisc is a family whose machines read their bootstrap data from a CD-ROM, so that there is one to be forgotten.
type onDisc struct{ osfamily.Family }

// Channels implements osfamily.Family.
func (onDisc) Channels(ingotv1.BootstrapFormat) []delivery.Channel {
	return []delivery.Channel{{Kind: delivery.NoCloud}}
}

// noWorkload is a workload cluster that nobody reaches: Nodes are told by Cluster API, which is played.
type noWorkload struct{}

// GetClient implements machine.Workload.
func (noWorkload) GetClient(context.Context, client.ObjectKey) (client.Client, error) {
	return nil, errNoWorkload
}

// Watch implements machine.Workload.
func (noWorkload) Watch(context.Context, client.ObjectKey, clustercache.Watcher) error {
	return errNoWorkload
}

// GetClusterSource implements machine.Workload.
func (noWorkload) GetClusterSource(string, func(context.Context, client.Object) []ctrl.Request, ...clustercache.GetClusterSourceOption) source.Source {
	return source.Func(func(context.Context, workqueue.TypedRateLimitingInterface[ctrl.Request]) error { return nil })
}

func quiet(ctx context.Context) context.Context { return log.IntoContext(ctx, logr.Discard()) }
