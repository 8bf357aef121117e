// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Driver is how the nodes of a control plane are driven: what differs between those that kubeadm makes and those whose operating
// system brings Kubernetes by itself. It is ports and data; nothing else in this package asks which it is.
type Driver struct {
	// Authority is what the Secret is for that lets us in to etcd.
	Authority secret.Purpose
	// OpenEtcd gives access to the etcd of a workload cluster.
	OpenEtcd EtcdOpener
	// Way is how members of etcd are reached, in words that end with their Nodes.
	Way string
	// OpenFounder gives access to the first Machine, which makes etcd when it is told to, of nothing or of a snapshot; nil where
	// it needs nobody, and fetches what it is to be restored from.
	OpenFounder FounderOpener
	// SelfJoining is whether nodes add their members and get their votes by themselves, see plan.Etcd.
	SelfJoining bool
	// Record returns an object that is in a workload cluster once its API server was set up. It has a name, and nothing else.
	Record func() client.Object
	// Canary is a key that must be in a snapshot of etcd.
	Canary string
	// EtcdIsNoPod is whether etcd runs otherwise than as a static Pod. The other components always are static Pods.
	EtcdIsNoPod bool
}

// Drivers chooses the Driver of a control plane whose Machines have a config.
type Drivers func(config bootstrapv1.IngotConfigSpec) Driver

// Access is what it takes to reach what runs on nodes.
type Access struct {
	Cluster client.ObjectKey
	// Authority is the Secret of the Driver's Authority.
	Authority *corev1.Secret
	Nodes     []Node
}

// Node is a node of a control plane.
type Node struct {
	// Name is the name of the Node, or of the Machine where that has none yet.
	Name string
	// Addresses are those of its Machine, the internal ones first. Some drivers need none.
	Addresses []string
}

// EtcdOpener gives access to the etcd of a workload cluster, which may run on the nodes.
type EtcdOpener func(ctx context.Context, access Access) (Etcd, error)

// FounderOpener gives access to the first Machine of a control plane, which is the only node.
type FounderOpener func(ctx context.Context, access Access) (Founder, error)

// Founder is a first Machine that makes etcd when it is told to.
type Founder interface {
	// Look tells how far it is, and what it waits for, in words that stay the same while it does. It never says that it was
	// told: a machine does not know. The error is why it could not be asked; the rest is valid all the same.
	Look(ctx context.Context) (state plan.Founding, message string, err error)
	// Found tells it, and may return before etcd is made. It returns within FoundBound, reaches this machine or none, and one
	// that has made etcd already is no error and keeps what it has.
	Found(ctx context.Context) error
	// Recover tells it to make etcd from a snapshot, and returns within RecoverBound. For the rest it is as Found.
	Recover(ctx context.Context, snapshot io.Reader) error
}

// Kubeadm drives nodes that kubeadm makes.
func Kubeadm(open EtcdOpener) Driver {
	return Driver{
		Authority: secret.EtcdCA,
		OpenEtcd:  open,
		Way:       "through the API server and the kubelets of the Nodes",
		Record: func() client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "kubeadm-config"}}
		},
		Canary: backup.KubeadmCanary,
	}
}

// components are the programs that run a control plane as static Pods.
func (d Driver) components() []component {
	all := []component{
		{"kube-apiserver", controlplanev1.MachineAPIServerPodHealthyCondition},
		{"kube-controller-manager", controlplanev1.MachineControllerManagerPodHealthyCondition},
		{"kube-scheduler", controlplanev1.MachineSchedulerPodHealthyCondition},
	}
	if d.EtcdIsNoPod {
		return all
	}
	return append(all, component{"etcd", controlplanev1.MachineEtcdPodHealthyCondition})
}
