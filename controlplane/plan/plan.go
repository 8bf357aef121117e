// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// Make decides what to do now. The order of the questions is their precedence: a control plane that is being deleted
// makes nothing; one that shares its Cluster with foreign Machines touches nothing; certificates come before whatever
// is signed with them; and a Machine comes last, because it cannot be taken back.
func Make(w World) Plan {
	p := &Plan{}
	switch {
	case w.Deleting:
		p.planDeletion(w)
	case len(w.ForeignMachines) > 0:
		p.hold(controlplanev1.ForeignMachinesReason, "Cluster %s has control plane Machines that IngotControlPlane %s does not own: %s; delete them, or delete this IngotControlPlane",
			w.Cluster, w.ControlPlane, enumerate(w.ForeignMachines))
	case !w.InfrastructureProvisioned:
		p.hold(controlplanev1.WaitingForClusterInfrastructureReason, "waiting until the infrastructure of Cluster %s is provisioned; its InfrastructureReady condition says what is missing", w.Cluster)
	default:
		ready := p.planAccess(w)
		switch {
		case w.restores():
			p.planRestore(w, ready)
		case w.Initialized && len(w.Machines) == 0:
			p.holdLoss(w)
		case w.Initialized:
			p.planRunning(w, ready)
		case len(w.Machines) > 0:
			p.planBooting(w)
		case ready:
			p.planMachine(w, bootstrapv1.RoleInit)
		}
	}
	return *p
}

func (p *Plan) do(steps ...Step) { p.Steps = append(p.Steps, steps...) }

func (p *Plan) hold(reason, format string, args ...any) {
	p.Held = append(p.Held, Held{Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// planDeletion takes the Cluster apart from its edge: workers, then control plane Machines, then the object. Workers
// need the API server to leave in order.
func (p *Plan) planDeletion(w World) {
	if len(w.Workers) > 0 {
		p.hold(controlplanev1.WaitingForWorkersReason, "waiting until the worker Machines of Cluster %s are gone: %s; deleting the Cluster deletes them", w.Cluster, enumerate(w.Workers))
		return
	}
	for _, m := range w.Machines {
		switch {
		case !m.Deleting:
			p.do(DeleteMachine{Name: m.Name})
		case m.WaitsForUs:
			p.do(ReleaseMachine{Name: m.Name})
		}
	}
	p.deleteLeftovers(w.Leftovers)
	if len(w.Machines) > 0 {
		p.hold(controlplanev1.WaitingForMachinesReason, "waiting until the control plane Machines are gone: %s; their Deleting conditions say what they wait for", enumerate(names(w.Machines)))
		return
	}
	p.do(RemoveFinalizer{})
}

// planAccess plans certificates and kubeconfig. It returns whether a Machine may be made once its steps are done.
func (p *Plan) planAccess(w World) bool {
	ready := p.planCertificates(w)
	if w.Endpoint == "" {
		p.hold(controlplanev1.WaitingForControlPlaneEndpointReason, "waiting until Cluster %s has a control plane endpoint; the infrastructure provider sets it, or you do in spec.controlPlaneEndpoint of the Cluster", w.Cluster)
		return false
	}
	if ready && w.Kubeconfig != KubeconfigCurrent {
		p.do(WriteKubeconfig{State: w.Kubeconfig})
	}
	return ready
}

// planCertificates never replaces an authority that a Machine may already trust: neither once the control plane was
// initialized, nor while its first Machine exists.
func (p *Plan) planCertificates(w World) bool {
	switch {
	case len(w.Certificates.Invalid) > 0:
		p.hold(controlplanev1.CertificatesInvalidReason, "%s", strings.Join(w.Certificates.Invalid, "; "))
		return false
	case len(w.Certificates.Missing) == 0:
		return true
	case w.Initialized:
		p.hold(controlplanev1.CertificatesMissingReason, "Secrets are gone: %s; they are never made again, because a new authority would shut every node out: restore them from a backup", enumerate(w.Certificates.Missing))
		return false
	case len(w.Machines) > 0:
		p.hold(controlplanev1.CertificatesMissingReason, "Secrets are gone that Machine %s was made with: %s; restore them, or delete the Machine to begin anew", w.Machines[0].Name, enumerate(w.Certificates.Missing))
		return false
	default:
		p.do(CreateCertificates{Missing: w.Certificates.Missing})
		return true
	}
}

// holdLoss refuses to make an empty cluster in the place of a lost one.
func (p *Plan) holdLoss(w World) {
	p.deleteLeftovers(w.Leftovers)
	p.hold(controlplanev1.ControlPlaneLostReason, "the control plane was initialized and its last Machine is gone, and with it the data of etcd; no empty cluster is made in its place: name a snapshot in spec.restoreFrom, or delete Cluster %s and create it again", w.Cluster)
}

// planMachine makes a Machine. What an interrupted attempt left is used where it still is what is wanted now, and
// deleted otherwise.
func (p *Plan) planMachine(w World, role bootstrapv1.Role) {
	if p.holdTemplate(w) {
		return
	}
	begun, snapshot := Leftover{Name: w.NextName}, ""
	if w.restores() {
		snapshot = w.Desired.RestoreFrom
	}
	if i := slices.IndexFunc(w.Leftovers, func(l Leftover) bool { return w.Desired.usable(l, role, snapshot) }); i >= 0 {
		begun = w.Leftovers[i]
	}
	p.deleteLeftovers(slices.DeleteFunc(slices.Clone(w.Leftovers), func(l Leftover) bool { return l.Name == begun.Name }))
	if begun.ClonedFrom == (Template{}) {
		p.do(CreateInfraMachine{Name: begun.Name, Template: w.Desired.Template})
	}
	if begun.Config == nil {
		p.do(CreateBootstrapConfig{Name: begun.Name, Role: role, RestoreFrom: snapshot})
	}
	p.do(CreateMachine{Name: begun.Name, Role: role, FailureDomain: w.FailureDomain, RestoreFrom: snapshot})
}

// holdTemplate makes nothing from a template that does not exist.
func (p *Plan) holdTemplate(w World) bool {
	if w.Desired.TemplateMissing {
		p.hold(controlplanev1.TemplateMissingReason, "%s does not exist: create it, or change spec.machineTemplate.spec.infrastructureRef", w.Desired.Template)
	}
	return w.Desired.TemplateMissing
}

// planBooting plans for the Machine that makes the cluster. Until the API server has answered nothing is lost with it, so
// it is replaced when it is not what is wanted any more, or when it failed.
func (p *Plan) planBooting(w World) {
	p.deleteLeftovers(w.Leftovers)
	for _, m := range w.Machines {
		if m.WaitsForUs {
			p.do(ReleaseMachine{Name: m.Name})
			return
		}
	}
	m := w.Machines[0]
	if len(w.Machines) > 1 {
		p.hold(controlplanev1.ScalingDownReason, "there are %d control plane Machines and the API server has not answered yet: %s; only one can make the cluster: delete those that are not wanted", len(w.Machines), enumerate(names(w.Machines)))
		return
	}
	switch {
	case m.Deleting:
		p.hold(controlplanev1.WaitingForMachinesReason, "waiting until Machine %s is gone; another first Machine is made then", m.Name)
	case m.RemediationWanted && m.Remediation == RemediationAllowed:
		p.do(RecordRemediation{Machine: m.Name}, DeleteMachine{Name: m.Name})
	case w.APIServerAnswers && w.restores():
		p.do(MarkRestored{Snapshot: m.RestoredFrom}, MarkInitialized{})
	case w.APIServerAnswers:
		p.do(MarkInitialized{})
	case len(Differences(w.Desired, m)) > 0:
		p.do(DeleteMachine{Name: m.Name})
	case m.RemediationWanted:
		p.holdRemediation(m)
	default:
		p.planFounding(w, m)
	}
}

// planFounding has the first Machine make etcd, where it has to be told, and waits for the API server. Two that are told make two
// clusters, so the one that may be told is written down before. Whoever is to be restored makes it from the snapshot, and never
// an empty one.
func (p *Plan) planFounding(w World, m Machine) {
	switch {
	case w.Founding != FoundingWanted:
	case !w.restores():
		p.do(ClaimFounding{Machine: m.Name}, FoundEtcd{Machine: m.Name}, RecordFounding{Machine: m.Name})
		return
	case p.restorePrepared(w):
		p.do(ClaimFounding{Machine: m.Name}, RestoreEtcd{Machine: m.Name, Snapshot: w.Desired.RestoreFrom}, RecordFounding{Machine: m.Name})
		return
	default:
		return
	}
	hint := ""
	if w.FoundingMessage != "" {
		hint = " (" + w.FoundingMessage + ")"
	}
	p.hold(controlplanev1.NotInitializedReason, "waiting until the API server answers at %s; the conditions of Machine %s and its console say how far it has come%s", w.Endpoint, m.Name, hint)
}

func (p *Plan) deleteLeftovers(leftovers []Leftover) {
	for _, l := range leftovers {
		if !l.Deleting {
			p.do(DeleteLeftover{Name: l.Name})
		}
	}
}

func names(machines []Machine) []string {
	list := make([]string, 0, len(machines))
	for _, m := range machines {
		list = append(list, m.Name)
	}
	return list
}

// enumerate writes a list for a sentence, and keeps long ones short.
func enumerate(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
