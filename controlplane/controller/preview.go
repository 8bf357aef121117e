// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Preview gathers for people what a pass of the reconciler judges, by the same functions. It writes nothing: its client
// refuses to. Every field is required.
type Preview struct {
	// Client reads from the API server.
	Client client.Client
	// Workloads connects to workload clusters, and Drivers chooses how to reach their etcd.
	Workloads WorkloadClients
	Drivers   Drivers
	// Clock tells the time.
	Clock clock.PassiveClock
}

// Subject is what a Preview looks at: objects as they are, or as somebody proposes them.
type Subject struct {
	ControlPlane *controlplanev1.IngotControlPlane
	Cluster      *clusterv1.Cluster
	// Templates are proposed together with the others: they count as existing.
	Templates []plan.Template
}

// Look returns the snapshot of a control plane, and says in words what could not be read and what is supposed instead.
func (p Preview) Look(ctx context.Context, subject Subject) (world plan.World, unknown []string, err error) {
	v := &view{}
	reader := readOnly{p.Client}
	r := &Reconciler{Client: reader, APIReader: reader, ClusterCache: onlyClients{WorkloadClients: p.Workloads}, Drivers: v.witness(p.Drivers), Clock: p.Clock}
	s, err := r.lookWith(ctx, reader, subject.ControlPlane, subject.Cluster, v.tolerate(r.gatherSecrets))
	if err != nil {
		return plan.World{}, nil, err
	}
	world = s.world
	if slices.Contains(subject.Templates, world.Desired.Template) {
		world.Desired.TemplateMissing = false
	}
	switch {
	case world.Etcd.Unseen == "":
	case v.secrets != nil:
		world.Etcd.Unseen = "the Secrets that let us in cannot be read"
	case v.etcd != nil:
		world.Etcd.Unseen += ": " + v.etcd.Error()
	}
	if v.secrets != nil {
		unknown = append(unknown, fmt.Sprintf("certificates and kubeconfig, which are supposed to be in order: %v", v.secrets))
	}
	if world.Etcd.Unseen != "" {
		unknown = append(unknown, "the members of etcd: "+world.Etcd.Unseen)
	}
	return world, unknown, nil
}

// view remembers why something could not be seen.
type view struct{ secrets, etcd error }

// tolerate supposes that Secrets that may not be read are as they should be.
func (v *view) tolerate(gather gatherFunc) gatherFunc {
	return func(ctx context.Context, reader client.Reader, s *snapshot) error {
		err := gather(ctx, reader, s)
		if !apierrors.IsForbidden(err) {
			return err
		}
		v.secrets, s.certificates = err, nil
		s.world.Certificates, s.world.Kubeconfig = plan.Certificates{}, plan.KubeconfigCurrent
		return nil
	}
}

// witness remembers why etcd could not be seen, which the reconciler writes to its log only.
func (v *view) witness(drivers Drivers) Drivers {
	return func(config bootstrapv1.IngotConfigSpec) Driver {
		driver := drivers(config)
		open := driver.OpenEtcd
		driver.OpenEtcd = func(ctx context.Context, access Access) (Etcd, error) {
			opened, err := open(ctx, access)
			v.etcd = err
			return witnessed{opened, v}, err
		}
		return driver
	}
}

type witnessed struct {
	Etcd

	view *view
}

// Members implements Etcd.
func (w witnessed) Members(ctx context.Context) ([]plan.Member, error) {
	members, err := w.Etcd.Members(ctx)
	w.view.etcd = err
	return members, err
}

// onlyClients gives clients, and wakes nobody.
type onlyClients struct {
	ClusterCache
	WorkloadClients
}

// GetUncachedClient implements WorkloadClients.
func (o onlyClients) GetUncachedClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error) {
	return o.WorkloadClients.GetUncachedClient(ctx, cluster)
}

// errReadOnly is what a Preview's client says to whoever writes with it.
var errReadOnly = errors.New("a preview writes nothing")

// readOnly is a client whose writes fail.
type readOnly struct{ client.Client }

// Create implements client.Writer.
func (readOnly) Create(context.Context, client.Object, ...client.CreateOption) error {
	return errReadOnly
}

// Update implements client.Writer.
func (readOnly) Update(context.Context, client.Object, ...client.UpdateOption) error {
	return errReadOnly
}

// Patch implements client.Writer.
func (readOnly) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return errReadOnly
}

// Apply implements client.Writer.
func (readOnly) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return errReadOnly
}

// Delete implements client.Writer.
func (readOnly) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return errReadOnly
}

// DeleteAllOf implements client.Writer.
func (readOnly) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return errReadOnly
}

// Status implements client.StatusClient. Nobody gathers with it.
func (readOnly) Status() client.SubResourceWriter { return nil }

// SubResource implements client.SubResourceClientConstructor. Nobody gathers with it.
func (readOnly) SubResource(string) client.SubResourceClient { return nil }
