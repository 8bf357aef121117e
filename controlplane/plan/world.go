// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// World is a snapshot of everything that a plan rests on. Lists are sorted by name, so that the same world is written
// in one way only.
type World struct {
	// ControlPlane and Cluster are the names of the objects, for messages.
	ControlPlane string `json:"controlPlane"`
	Cluster      string `json:"cluster"`

	// Deleting is whether the control plane is being deleted.
	Deleting bool `json:"deleting,omitempty"`
	// Initialized is whether the API server has ever answered. It comes from a durable mark, not from status alone,
	// because status does not survive a move to another management cluster.
	Initialized bool `json:"initialized,omitempty"`
	// APIServerAnswers is whether the API server answers through the endpoint now and holds what is there once it was set
	// up, such as kubeadm's record of the cluster. It is only asked for while the control plane is not initialized.
	APIServerAnswers bool `json:"apiServerAnswers,omitempty"`
	// Founding is how far the first Machine is with making etcd, where it has to be told to; empty where it needs nobody.
	Founding Founding `json:"founding,omitempty"`
	// FoundingMessage is what that waits for, in words.
	FoundingMessage string `json:"foundingMessage,omitempty"`

	// InfrastructureProvisioned is whether the Cluster's infrastructure is there.
	InfrastructureProvisioned bool `json:"infrastructureProvisioned,omitempty"`
	// Endpoint is host:port of the control plane endpoint, empty while it is not known.
	Endpoint string `json:"endpoint,omitempty"`

	Certificates Certificates `json:"certificates,omitzero"`
	Kubeconfig   Kubeconfig   `json:"kubeconfig,omitempty"`

	Desired Desired `json:"desired,omitzero"`

	// Etcd is what etcd said of its members; it is asked once the control plane is initialized.
	Etcd Etcd `json:"etcd,omitzero"`
	// Backup is what there is to fall back on when a rollout goes wrong.
	Backup Backup `json:"backup,omitempty"`
	// BackupMessage is how far the backup is, or why the last attempt failed, in words.
	BackupMessage string `json:"backupMessage,omitempty"`
	// Restored is the snapshot that etcd was last restored from, empty where it never was. It comes from a durable mark.
	Restored string `json:"restored,omitempty"`
	// Restore is how far the data of the snapshot is that the spec asks to restore from.
	Restore Restore `json:"restore,omitempty"`
	// RestoreMessage is how far that is, or why the last attempt failed, in words.
	RestoreMessage string `json:"restoreMessage,omitempty"`
	// TopologyVersion is the version that the topology of the Cluster asks for, empty where there is none, or where the
	// control plane need not have it yet.
	TopologyVersion string `json:"topologyVersion,omitempty"`

	// Machines are the control plane's own Machines.
	Machines []Machine `json:"machines,omitempty"`
	// Leftovers are what an interrupted creation left behind.
	Leftovers []Leftover `json:"leftovers,omitempty"`
	// Workers are the Cluster's Machines that are not control plane Machines.
	Workers []string `json:"workers,omitempty"`
	// ForeignMachines are control plane Machines of the Cluster that another object controls, or none.
	ForeignMachines []string `json:"foreignMachines,omitempty"`
	// AbandonedNodes are control plane Nodes that no Machine of the Cluster has, and that were machines of ours.
	AbandonedNodes []string `json:"abandonedNodes,omitempty"`

	// NextName is the name of the next Machine, should one be made. FailureDomain is where it goes; empty means that
	// the Cluster has no failure domain for control planes. Both are chosen by the gatherer, so that a plan stays a
	// function of its snapshot.
	NextName      string `json:"nextName,omitempty"`
	FailureDomain string `json:"failureDomain,omitempty"`
	// FailureDomains are all that control planes may use. A forecast chooses from them where Machines go that are made later.
	FailureDomains []string `json:"failureDomains,omitempty"`
}

// Certificates is what is wrong with the Cluster's certificate Secrets.
type Certificates struct {
	// Missing are the names of Secrets that do not exist.
	Missing []string `json:"missing,omitempty"`
	// Invalid are sentences, each of which names a Secret and what is wrong with it.
	Invalid []string `json:"invalid,omitempty"`
}

// Kubeconfig is the state of the kubeconfig Secret.
type Kubeconfig string

const (
	// KubeconfigMissing says that there is none.
	KubeconfigMissing Kubeconfig = "Missing"
	// KubeconfigStale says that ours is about to expire, or speaks of another endpoint or authority.
	KubeconfigStale Kubeconfig = "Stale"
	// KubeconfigCurrent says that it can be used, or that it belongs to somebody else, who keeps it current.
	KubeconfigCurrent Kubeconfig = "Current"
)

// Founding is how far a first Machine is with making etcd that does so when it is told to.
type Founding string

const (
	// FoundingByItself says that it needs nobody.
	FoundingByItself Founding = ""
	// FoundingWaits says that it cannot be told yet.
	FoundingWaits Founding = "Waits"
	// FoundingWanted says that it waits to be told.
	FoundingWanted Founding = "Wanted"
	// FoundingTold says that it was told, or is being told, and has not made etcd yet.
	FoundingTold Founding = "Told"
	// FoundingDone says that etcd runs.
	FoundingDone Founding = "Done"
)

// Backup is the state of the snapshot of etcd that a rollout begins with.
type Backup string

const (
	// BackupNone says that none was made for this rollout.
	BackupNone Backup = ""
	// BackupRunning says that one is being made.
	BackupRunning Backup = "Running"
	// BackupDone says that one was made for this rollout, and was restored to try it, or that none is wanted.
	BackupDone Backup = "Done"
	// BackupFailed says that the last attempt failed, and that it is too soon for another.
	BackupFailed Backup = "Failed"
)

// Restore is how far the data of a snapshot is that etcd is to be restored from.
type Restore string

const (
	// RestoreNone says that it was not fetched yet.
	RestoreNone Restore = ""
	// RestoreRunning says that it is being fetched and restored.
	RestoreRunning Restore = "Running"
	// RestoreReady says that the first Machine can fetch it.
	RestoreReady Restore = "Ready"
	// RestoreFailed says that the last attempt failed, and that it is too soon for another.
	RestoreFailed Restore = "Failed"
)

// Desired is what the spec of the control plane asks for.
type Desired struct {
	Replicas int32                       `json:"replicas"`
	Version  string                      `json:"version,omitempty"`
	Template Template                    `json:"template,omitzero"`
	Config   bootstrapv1.IngotConfigSpec `json:"config,omitzero"`
	// TemplateMissing is whether the template does not exist.
	TemplateMissing bool `json:"templateMissing,omitempty"`
	// RestoreFrom is the name of the snapshot that etcd is to be restored from, empty where nobody asks for that.
	RestoreFrom string `json:"restoreFrom,omitempty"`
	// DeleteFirst is whether a Machine is replaced by deleting it before the other is made (maxSurge 0).
	DeleteFirst bool `json:"deleteFirst,omitempty"`
}

// Template names an infrastructure machine template.
type Template struct {
	// GroupKind is written as Kind.group.
	GroupKind string `json:"groupKind,omitempty"`
	Name      string `json:"name,omitempty"`
}

// String names the template as a person would: Kind/name.
func (t Template) String() string {
	kind, _, _ := strings.Cut(t.GroupKind, ".")
	return kind + "/" + t.Name
}

// Machine is one Machine of the control plane.
type Machine struct {
	Name     string `json:"name"`
	Deleting bool   `json:"deleting,omitempty"`
	// Version is the Kubernetes version that the Machine was made for.
	Version string `json:"version,omitempty"`
	// KubeletVersion is what the Node reports, empty until there is a Node.
	KubeletVersion string `json:"kubeletVersion,omitempty"`
	// ClonedFrom is the template of its infrastructure machine, zero where that is not seen.
	ClonedFrom Template `json:"clonedFrom,omitzero"`
	// Config is the spec of its IngotConfig, nil where that is not seen.
	Config *bootstrapv1.IngotConfigSpec `json:"config,omitempty"`
	// RemediationWanted is whether a MachineHealthCheck asks the owner to replace it.
	RemediationWanted bool `json:"remediationWanted,omitempty"`
	// Remediation is whether it may be replaced should it be unhealthy.
	Remediation Remediation `json:"remediation,omitempty"`

	// Created is when it was made.
	Created metav1.Time `json:"created,omitzero"`
	// Node is the name of its Node, empty until it has joined.
	Node string `json:"node,omitempty"`
	// Trouble is what is wrong with its Node or the components on it, in words; empty where nothing is.
	Trouble string `json:"trouble,omitempty"`
	// WaitsForUs is whether it is being deleted, its Node is drained, and it goes as soon as we let it.
	WaitsForUs bool `json:"waitsForUs,omitempty"`
	// RestoredFrom is the snapshot that it was made with, empty for Machines that begin anew or join.
	RestoredFrom string `json:"restoredFrom,omitempty"`
	// DeletionWanted is whether somebody marked it to be the first that goes when there is one too many.
	DeletionWanted bool `json:"deletionWanted,omitempty"`
	// FailureDomain is where it is.
	FailureDomain string `json:"failureDomain,omitempty"`
	// Due are reasons of time to replace it, one phrase each: its certificates end soon, or spec.rollout.after has passed.
	Due []string `json:"due,omitempty"`
}

// Leftover is a set of objects that were made for a Machine which does not exist: creating it was interrupted.
type Leftover struct {
	// Name is the name of the Machine that they were made for.
	Name string `json:"name"`
	// ClonedFrom is the template of the infrastructure machine, zero where there is none.
	ClonedFrom Template `json:"clonedFrom,omitzero"`
	// Config is the spec of the IngotConfig, nil where there is none.
	Config *bootstrapv1.IngotConfigSpec `json:"config,omitempty"`
	// RestoredFrom is the snapshot that they were made with, empty where they begin anew.
	RestoredFrom string `json:"restoredFrom,omitempty"`
	// Deleting is whether one of them is being deleted.
	Deleting bool `json:"deleting,omitempty"`
}
