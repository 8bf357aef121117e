// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/workload"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// death is how a manager ends: before or after the nth act with a name, counted from when it was decided.
type death struct {
	act   string
	nth   int
	after bool
}

func (d death) String() string {
	when := "before"
	if d.after {
		when = "after"
	}
	return fmt.Sprintf("%s %s (%d)", when, d.act, d.nth)
}

// script counts what the managers of a world do to it, one after the other, and says when one dies.
type script struct {
	mu     sync.Mutex
	acts   []string
	counts map[string]int
	// last is the last change. Reports are called after it, because how many are written differs from time to time.
	last   string
	death  *death
	deaths int
}

// arm begins to count anew, and decides how a manager ends; nil lets them live.
func (s *script) arm(d *death) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts, s.counts, s.last, s.death, s.deaths = nil, map[string]int{}, "the start", d, 0
}

// done are the acts since the script was armed, and how many managers died.
func (s *script) done() (acts []string, deaths int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acts), s.deaths
}

// judge counts an act and says whether the manager dies at it, and whether the act is done all the same.
func (s *script) judge(act string) (dies, reaches bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	if strings.HasPrefix(act, "patch status of") {
		act = "report after " + s.last
	} else {
		s.last = fmt.Sprintf("%s (%d)", act, s.counts[act]+1)
	}
	s.counts[act]++
	s.acts = append(s.acts, act)
	if s.death == nil || s.death.act != act || s.death.nth != s.counts[act] {
		return false, false
	}
	after := s.death.after
	s.death = nil
	s.deaths++
	return true, after
}

// manager is one process of the role that runs control planes, with a cache of its own.
type manager struct {
	world  *world
	writes *builder.Writes
	died   chan struct{}
	once   sync.Once

	mu   sync.Mutex
	seen seen
}

// seen is what a look at etcd could tell: what happened later nobody could know.
type seen struct {
	// unwell are the members that were not well. unheard are they, and those behind a dead kubelet, which are the same to
	// whoever looks through kubelets.
	unwell, unheard map[string]bool
}

// superviseManager runs one manager after the other: when one dies, the next begins, which remembers nothing.
func (w *world) superviseManager(ctx context.Context) {
	var lingering sync.WaitGroup
	defer lingering.Wait()
	for ctx.Err() == nil {
		m := &manager{world: w, died: make(chan struct{})}
		m.writes = &builder.Writes{Judge: m.judge}
		life, kill := context.WithCancel(ctx)
		ended := make(chan struct{})
		lingering.Go(func() {
			defer close(ended)
			if err := m.run(life); err != nil && life.Err() == nil {
				w.accuse("the manager ends: %v", err)
			}
		})
		select {
		case <-m.died:
			w.note("the manager is killed")
		case <-ended:
		case <-ctx.Done():
		}
		m.writes.Kill()
		kill()
	}
}

// judge is asked before each write and each change of etcd.
func (m *manager) judge(act string) (dies, reaches bool) {
	if m.writes.Killed() {
		return true, false
	}
	dies, reaches = m.world.script.judge(act)
	if dies {
		m.once.Do(func() { close(m.died) })
	}
	return dies, reaches
}

// act does what is no write of the API, under the same rules.
func (m *manager) act(name string, do func() error) error {
	dies, reaches := m.judge(name)
	if dies {
		m.writes.Kill()
	}
	switch {
	case !dies:
		return do()
	case reaches:
		return errors.Join(do(), builder.ErrKilled)
	default:
		return builder.ErrKilled
	}
}

// run runs the manager as internal/setup wires it, for one namespace.
func (m *manager) run(ctx context.Context) error {
	config := rest.CopyConfig(shared.config)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:     shared.client.Scheme(),
		Logger:     m.logger(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{m.world.namespace: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return err
	}
	ctx = ctrl.LoggerInto(ctx, m.logger())
	workloads, err := clustercache.SetupWithManager(ctx, mgr, clustercache.Options{
		SecretClient: mgr.GetClient(),
		Cache:        clustercache.CacheOptions{DefaultTransform: cache.TransformStripManagedFields()},
		Client: clustercache.ClientOptions{
			UserAgent: "ingot-manager",
			Cache:     clustercache.ClientCacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.Pod{}}},
		},
	}, ctrlcontroller.Options{})
	if err != nil {
		return err
	}
	reconciler := &controller.Reconciler{
		Client:       m.writes.Through(m.judged(unwatched{mgr.GetClient()})),
		APIReader:    mgr.GetAPIReader(),
		ClusterCache: workloads,
		Drivers:      m.drivers(workloads),
		Clock:        clock.RealClock{},
		Backups:      &builder.Backups{},
		Restores:     &builder.Restores{},
		Pace:         m.world.pace,
	}
	if err := reconciler.SetupWithManager(ctx, mgr, ctrlcontroller.Options{}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// unwatched is a manager's client, which nobody watches with.
type unwatched struct{ client.Client }

// Watch implements client.WithWatch.
func (unwatched) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return nil, errors.New("nobody watches with the client of a manager")
}

// judged is a client whose writes the judge sees before they are done.
func (m *manager) judged(c client.WithWatch) client.WithWatch {
	w := m.world
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, o, opts...)
			if _, is := o.(*clusterv1.Machine); is && err == nil {
				w.tell("created", o.GetName())
			}
			return err
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			_, is := o.(*clusterv1.Machine)
			if is {
				w.judgeDelete(ctx, o.GetName(), m.lastSeen())
			}
			err := c.Delete(ctx, o, opts...)
			if is && err == nil {
				w.tell("deleted", o.GetName())
			}
			return err
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			machine, is := o.(*clusterv1.Machine)
			_, hooked := o.GetAnnotations()[controlplanev1.PreTerminateHookAnnotation]
			releases := is && !hooked && machine.DeletionTimestamp != nil
			if releases {
				w.judgeRelease(ctx, machine.Name)
			}
			err := c.Patch(ctx, o, p, opts...)
			if releases && err == nil {
				w.tell("released", machine.Name)
			}
			return err
		},
	})
}

// opener gives access to etcd as internal/setup does, except that members are reached without an API server.
func (m *manager) opener(workloads clustercache.ClusterCache) controller.EtcdOpener {
	return func(ctx context.Context, access controller.Access) (controller.Etcd, error) {
		if _, err := workloads.GetRESTConfig(ctx, access.Cluster); err != nil {
			return nil, err
		}
		identity, err := certificates.EtcdClient(access.Authority)
		if err != nil {
			return nil, err
		}
		nodes := names(access.Nodes)
		return watchedEtcd{etcd.Cluster{Dial: m.world.dial, TLS: identity, Nodes: nodes}, m, nodes}, nil
	}
}

func names(nodes []controller.Node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Name
	}
	return list
}

// drivers are those of internal/workload, with a judge beside them.
func (m *manager) drivers(workloads clustercache.ClusterCache) controller.Drivers {
	kubeadm, talos := controller.Kubeadm(m.opener(workloads)), workload.Talos(clock.RealClock{})
	openEtcd, openFounder := talos.OpenEtcd, talos.OpenFounder
	talos.OpenEtcd = func(ctx context.Context, access controller.Access) (controller.Etcd, error) {
		opened, err := openEtcd(ctx, access)
		return watchedEtcd{opened, m, names(access.Nodes)}, err
	}
	talos.OpenFounder = func(ctx context.Context, access controller.Access) (controller.Founder, error) {
		opened, err := openFounder(ctx, access)
		return watchedFounder{opened, m}, err
	}
	return func(config bootstrapv1.IngotConfigSpec) controller.Driver {
		if config.Talos != nil {
			return talos
		}
		return kubeadm
	}
}

// watchedFounder is a first Machine as a manager sees it.
type watchedFounder struct {
	controller.Founder

	manager *manager
}

// Found implements controller.Founder.
func (f watchedFounder) Found(ctx context.Context) error {
	return f.manager.act("etcd: found", func() error { return f.Founder.Found(ctx) })
}

// dial reaches a member as port forwarding does: through the kubelet of its node.
func (w *world) dial(ctx context.Context, name string) (net.Conn, error) {
	n := w.node(name)
	if n == nil {
		return nil, errors.New("no route to node " + name)
	}
	if n.isDeaf() {
		return nil, errors.New("the kubelet of node " + name + " refuses connections")
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", n.ip+":2389")
}

// watchedEtcd is etcd as a manager sees it, and the judge beside it.
type watchedEtcd struct {
	controller.Etcd

	manager *manager
	nodes   []string
}

// Members implements controller.Etcd.
func (e watchedEtcd) Members(ctx context.Context) ([]plan.Member, error) {
	now := seen{unwell: map[string]bool{}, unheard: map[string]bool{}}
	for _, n := range e.manager.world.all() {
		now.unwell[n.name] = !n.well()
		now.unheard[n.name] = !n.well() || n.isDeaf()
	}
	e.manager.mu.Lock()
	e.manager.seen = now
	e.manager.mu.Unlock()
	begin := time.Now()
	members, err := e.Etcd.Members(ctx)
	if took := time.Since(begin); took > time.Second {
		e.manager.world.note("looking at etcd on %v takes %s", e.nodes, took.Round(time.Second/10))
	}
	return members, err
}

func (m *manager) lastSeen() seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

// Promote implements controller.Etcd.
func (e watchedEtcd) Promote(ctx context.Context, member plan.Member) error {
	return e.manager.act("etcd: promote", func() error {
		err := e.Etcd.Promote(ctx, member)
		if err == nil {
			e.manager.world.tell("promoted by us", member.Name)
		}
		return err
	})
}

// MoveLeader implements controller.Etcd.
func (e watchedEtcd) MoveLeader(ctx context.Context, from, to plan.Member) error {
	return e.manager.act("etcd: move leader", func() error {
		err := e.Etcd.MoveLeader(ctx, from, to)
		if err == nil {
			e.manager.world.tell("led away", from.Name)
		}
		return err
	})
}

// Remove implements controller.Etcd.
func (e watchedEtcd) Remove(ctx context.Context, member plan.Member) error {
	return e.manager.act("etcd: remove", func() error {
		e.manager.world.judgeRemove(ctx, member, e.manager.lastSeen().unwell)
		err := e.Etcd.Remove(ctx, member)
		if err == nil {
			e.manager.world.removed(member)
			e.manager.world.tell("removed", member.Called())
		}
		return err
	})
}

// logger keeps of a manager's log what belongs to the story.
func (m *manager) logger() logr.Logger {
	return funcr.New(func(_, line string) {
		switch _, step, is := strings.Cut(line, `"step"=`); {
		case is:
			m.world.note("we %s", strings.Trim(step, `"`))
		case strings.Contains(line, "Reconciler error"), strings.Contains(line, "No member of etcd answers"):
			for _, key := range []string{`"error"=`, `"cause"=`} {
				if _, cause, has := strings.Cut(line, key); has {
					line = cause
				}
			}
			m.world.note("the manager: %.400s", line)
		}
	}, funcr.Options{Verbosity: 2})
}

const (
	quick = 500 * time.Millisecond
	slow  = 2 * time.Second
)
