// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// Plan is what to do now. Steps are in the order in which they must be done, and each is safe to do once those before
// it are done. A plan with neither steps nor holds says that everything is as declared.
type Plan struct {
	Steps []Step
	Held  []Held
}

// Held is the reason why something that should happen does not. Messages name the remedy.
type Held struct {
	Reason  string
	Message string
}

// Step is one thing to do. Each step is one write, or several writes of the same kind, and may be done again when it is
// not known whether it was done. As JSON, a step is its fields; what it is called is the name of its type.
type Step interface {
	// String names the step and its object.
	String() string
	step()
}

// CreateCertificates makes the certificate Secrets that are missing. Existing ones are left as they are.
type CreateCertificates struct {
	Missing []string `json:"missing"`
}

// WriteKubeconfig makes the kubeconfig Secret, or renews it.
type WriteKubeconfig struct {
	State Kubeconfig `json:"state"`
}

// CreateInfraMachine clones the infrastructure machine of a Machine that is about to be made.
type CreateInfraMachine struct {
	Name     string   `json:"name"`
	Template Template `json:"template"`
}

// CreateBootstrapConfig makes the IngotConfig of a Machine that is about to be made.
type CreateBootstrapConfig struct {
	Name string           `json:"name"`
	Role bootstrapv1.Role `json:"role"`
	// RestoreFrom is the snapshot that the first Machine begins with, empty where it begins anew.
	RestoreFrom string `json:"restoreFrom,omitempty"`
}

// CreateMachine makes a Machine. Its infrastructure machine and its IngotConfig are there.
type CreateMachine struct {
	Name          string           `json:"name"`
	Role          bootstrapv1.Role `json:"role"`
	FailureDomain string           `json:"failureDomain,omitempty"`
	RestoreFrom   string           `json:"restoreFrom,omitempty"`
}

// DeleteMachine deletes a Machine; Cluster API deletes what belongs to it.
type DeleteMachine struct {
	Name string `json:"name"`
}

// RecordRemediation writes down that a Machine is replaced because it is unhealthy, so that its replacement can be told
// from others.
type RecordRemediation struct {
	Machine string `json:"machine"`
}

// DeleteLeftover deletes the infrastructure machine and the IngotConfig of a Machine that was never made.
type DeleteLeftover struct {
	Name string `json:"name"`
}

// ClaimFounding writes down that a Machine is the one that makes etcd, and when it was told. Of several that write at the same
// time, one succeeds.
type ClaimFounding struct {
	Machine string `json:"machine"`
}

// FoundEtcd tells a Machine to make etcd.
type FoundEtcd struct {
	Machine string `json:"machine"`
}

// RestoreEtcd tells a Machine to make etcd from a snapshot that was prepared.
type RestoreEtcd struct {
	Machine  string `json:"machine"`
	Snapshot string `json:"snapshot"`
}

// RecordFounding writes down that a Machine has taken it on.
type RecordFounding struct {
	Machine string `json:"machine"`
}

// MarkInitialized writes down, for good, that the API server has answered.
type MarkInitialized struct{}

// BackUpEtcd takes a snapshot of etcd, tries whether it can be restored, and stores it.
type BackUpEtcd struct{}

// PrepareRestore fetches a snapshot, restores it, and lays out its data for the first Machine.
type PrepareRestore struct {
	Snapshot string `json:"snapshot"`
}

// MarkRestored writes down, for good, which snapshot etcd was restored from, and forgets the Nodes of Machines that are gone.
type MarkRestored struct {
	Snapshot string `json:"snapshot"`
}

// CorrectPeer tells etcd where the others find a member that was restored.
type CorrectPeer struct {
	Member  Member `json:"member"`
	Machine string `json:"machine"`
}

// PromoteLearner gives a member its vote.
type PromoteLearner struct {
	Member Member `json:"member"`
}

// MoveLeader has another member lead.
type MoveLeader struct {
	From Member `json:"from"`
	To   Member `json:"to"`
}

// RemoveMember removes a member from etcd.
type RemoveMember struct {
	Member Member `json:"member"`
}

// ReleaseMachine lets a Machine go that is being deleted and waits for us.
type ReleaseMachine struct {
	Name string `json:"name"`
}

// ForgetNode removes the Node of a Machine that is gone.
type ForgetNode struct {
	Node string `json:"node"`
}

// RemoveFinalizer lets the control plane object go.
type RemoveFinalizer struct{}

func (CreateCertificates) step()    {}
func (WriteKubeconfig) step()       {}
func (CreateInfraMachine) step()    {}
func (CreateBootstrapConfig) step() {}
func (CreateMachine) step()         {}
func (DeleteMachine) step()         {}
func (RecordRemediation) step()     {}
func (DeleteLeftover) step()        {}
func (ClaimFounding) step()         {}
func (FoundEtcd) step()             {}
func (RestoreEtcd) step()           {}
func (RecordFounding) step()        {}
func (MarkInitialized) step()       {}
func (RemoveFinalizer) step()       {}
func (BackUpEtcd) step()            {}
func (PrepareRestore) step()        {}
func (MarkRestored) step()          {}
func (CorrectPeer) step()           {}
func (PromoteLearner) step()        {}
func (MoveLeader) step()            {}
func (RemoveMember) step()          {}
func (ReleaseMachine) step()        {}
func (ForgetNode) step()            {}

func (s CreateCertificates) String() string {
	return "create certificates " + enumerate(s.Missing)
}

func (s WriteKubeconfig) String() string {
	return fmt.Sprintf("write kubeconfig (%s)", s.State)
}

func (s CreateInfraMachine) String() string {
	return fmt.Sprintf("create infrastructure machine %s from %s", s.Name, s.Template)
}

func (s CreateBootstrapConfig) String() string {
	return fmt.Sprintf("create bootstrap config %s with role %s%s", s.Name, s.Role, from(s.RestoreFrom))
}

func (s CreateMachine) String() string {
	place := ""
	if s.FailureDomain != "" {
		place = " in failure domain " + s.FailureDomain
	}
	return fmt.Sprintf("create machine %s with role %s%s%s", s.Name, s.Role, place, from(s.RestoreFrom))
}

func from(snapshot string) string {
	if snapshot == "" {
		return ""
	}
	return " from snapshot " + snapshot
}

func (s DeleteMachine) String() string { return "delete machine " + s.Name }
func (s RecordRemediation) String() string {
	return "record that machine " + s.Machine + " is replaced because it is unhealthy"
}
func (s DeleteLeftover) String() string { return "delete leftovers of machine " + s.Name }
func (s ClaimFounding) String() string {
	return "record that machine " + s.Machine + " is the one that makes etcd"
}
func (s FoundEtcd) String() string { return "tell machine " + s.Machine + " to make etcd" }
func (s RestoreEtcd) String() string {
	return "tell machine " + s.Machine + " to make etcd from snapshot " + s.Snapshot
}

func (s RecordFounding) String() string {
	return "record that machine " + s.Machine + " makes etcd"
}
func (MarkInitialized) String() string { return "mark initialized" }
func (RemoveFinalizer) String() string { return "remove finalizer" }
func (BackUpEtcd) String() string      { return "back up etcd" }

func (s PrepareRestore) String() string {
	return "restore snapshot " + s.Snapshot + " for the first machine"
}
func (s MarkRestored) String() string { return "mark restored from snapshot " + s.Snapshot }
func (s CorrectPeer) String() string {
	return fmt.Sprintf("correct the address of etcd member %s to that of machine %s", s.Member.Called(), s.Machine)
}

func (s PromoteLearner) String() string { return "promote etcd member " + s.Member.Called() }
func (s MoveLeader) String() string {
	return fmt.Sprintf("move the leadership of etcd from %s to %s", s.From.Called(), s.To.Called())
}
func (s RemoveMember) String() string   { return "remove etcd member " + s.Member.Called() }
func (s ReleaseMachine) String() string { return "let machine " + s.Name + " go" }
func (s ForgetNode) String() string     { return "remove node " + s.Node }
