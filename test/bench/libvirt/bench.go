// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

const (
	namespace = "default"
	diskBytes = 1 << 20
)

// bench is one run.
type bench struct {
	n, parallel int
	rest        time.Duration
	dir, binary string
	host        *hypervisor.Hypervisor
	plane       *managementplane.Plane
	client      client.WithWatch
	manager     *manager
	loop        bool // whether virsh does the same beside
}

func (b *bench) run(ctx context.Context) (err error) {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	leases, err := newLeases(ctx, b.host)
	if err != nil {
		return err
	}
	defer leases.follow(ctx)()
	if b.manager, err = startManager(ctx, b.binary, b.plane.Kubeconfig, b.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.manager.stop()) }()
	say("one machine, so that the image is stored and caches are warm")
	if err := b.create(ctx, "warm", 1); err != nil {
		return err
	}
	if err := b.remove(ctx, "warm", 1); err != nil {
		return err
	}
	var virsh [2]time.Duration
	if b.loop { // before and after would be fairer still; the domains of a run are gone before the next
		say("%d domains by virsh, %d at once", b.n, b.parallel)
		if virsh, err = b.virsh(ctx); err != nil {
			return err
		}
	}
	say("%d machines by our manager, %d at once", b.n, b.parallel)
	return b.measure(ctx, virsh)
}

// prepare makes everything that the machines share.
func (b *bench) prepare(ctx context.Context) error {
	disk := make([]byte, diskBytes)
	copy(disk, "a disk without an operating system")
	path := filepath.Join(b.dir, "disk.raw")
	if err := os.WriteFile(path, disk, 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(disk)
	image := builder.NodeImage("minimal", func(i *ingotv1.NodeImage) {
		i.Spec.Firmware = []ingotv1.Firmware{ingotv1.FirmwareBIOS}
		a := &i.Spec.Artefacts[0]
		a.Format, a.Source, a.SHA256, a.SizeBytes = ingotv1.DiskFormatRaw, "file://"+path, hex.EncodeToString(sum[:]), diskBytes
	})
	host := builder.PlatformEndpoint("host", func(e *ingotv1.PlatformEndpoint) {
		e.Spec.Libvirt = ingotv1.LibvirtEndpoint{URI: b.host.URI, Acceleration: ingotv1.AccelerationEmulated}
		e.Spec.Budget.CreatesInFlight = new(int32(b.parallel))
	})
	cluster := builder.Cluster(func(c *clusterv1.Cluster) { c.Namespace = namespace })
	data := builder.BootstrapData("shared", func(s *corev1.Secret) { s.Namespace = namespace })
	for _, o := range []client.Object{image, host, cluster, data} {
		if err := b.client.Create(ctx, o); err != nil {
			return err
		}
	}
	cluster.Status.Initialization.InfrastructureProvisioned = new(true)
	return b.client.Status().Update(ctx, cluster)
}

// create makes machines as Cluster API does, and waits until all are provisioned.
func (b *bench) create(ctx context.Context, name string, n int) error {
	for i := range n {
		m := builder.Machine(fmt.Sprintf("%s-%d", name, i), func(m *clusterv1.Machine) {
			m.Namespace, m.Spec.Bootstrap.DataSecretName = namespace, new("shared")
		})
		if err := b.client.Create(ctx, m); err != nil {
			return err
		}
		infra := builder.IngotMachine(m, "minimal", "host", func(infra *infrav1.IngotMachine) {
			infra.Namespace = namespace
			infra.Spec.Firmware = ingotv1.FirmwareBIOS
			infra.Spec.Resources = infrav1.MachineResources{CPUs: 1, Memory: resource.MustParse("256Mi")}
			infra.Spec.Networks[0].Name = b.host.Network
			infra.Spec.Platform.Libvirt.StoragePool = b.host.Pool
		})
		if err := b.client.Create(ctx, infra); err != nil {
			return err
		}
	}
	return b.await(ctx, name, n, func(m *infrav1.IngotMachine) bool {
		told := m.Status.Initialization.Provisioned
		return told != nil && *told
	})
}

// join tells each machine that its Node has joined, as Cluster API does, and waits until all are at rest.
func (b *bench) join(ctx context.Context, name string, n int) error {
	for i := range n {
		m := &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%d", name, i)}}
		infra := &infrav1.IngotMachine{}
		if err := b.client.Get(ctx, client.ObjectKeyFromObject(m), infra); err != nil {
			return err
		}
		if err := b.client.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return err
		}
		m.Spec.ProviderID = infra.Spec.ProviderID
		if err := b.client.Update(ctx, m); err != nil {
			return err
		}
		m.Status.NodeRef.Name = m.Name
		if err := b.client.Status().Update(ctx, m); err != nil {
			return err
		}
	}
	return b.await(ctx, name, n, func(m *infrav1.IngotMachine) bool { return conditions.IsTrue(m, infrav1.ReadyCondition) })
}

// remove deletes machines and waits until they are gone.
func (b *bench) remove(ctx context.Context, name string, n int) error {
	for i := range n {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%d", name, i)}
		for _, o := range []client.Object{&infrav1.IngotMachine{ObjectMeta: meta}, &clusterv1.Machine{ObjectMeta: meta}} {
			if err := b.client.Delete(ctx, o); err != nil {
				return err
			}
		}
	}
	return poll(ctx, 5*time.Minute, func() (string, error) {
		list := &infrav1.IngotMachineList{}
		err := b.client.List(ctx, list, client.InNamespace(namespace))
		if len(list.Items) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d machines are left, one is %v", len(list.Items), list.Items[0].Status.Conditions), err
	})
}

func (b *bench) await(ctx context.Context, name string, n int, done func(*infrav1.IngotMachine) bool) error {
	return poll(ctx, 10*time.Minute, func() (string, error) {
		list := &infrav1.IngotMachineList{}
		if err := b.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return "", err
		}
		left := 0
		last := ""
		for i := range list.Items {
			if m := &list.Items[i]; strings.HasPrefix(m.Name, name+"-") && !done(m) {
				left++
				last = fmt.Sprintf("%v", m.Status.Conditions)
			}
		}
		if left == 0 && len(list.Items) >= n {
			return "", nil
		}
		return fmt.Sprintf("%d of %d machines are not there yet, one is %s", left, n, last), nil
	})
}

// poll asks until there is nothing left to wait for.
func poll(ctx context.Context, limit time.Duration, ask func() (missing string, err error)) error {
	for deadline := time.Now().Add(limit); ; {
		missing, err := ask()
		if err != nil || missing == "" {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New(missing)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
