// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// restores is whether the spec asks to restore etcd from a snapshot, and that is not done.
func (w World) restores() bool {
	return w.Desired.RestoreFrom != "" && w.Desired.RestoreFrom != w.Restored
}

// planRestore begins anew with a snapshot. Machines that are there hold what a person may still need: they are given up only
// when every one of them is being deleted, which nobody does to all of a control plane by mistake and asks for a restore.
func (p *Plan) planRestore(w World, mayCreate bool) {
	old := filter(w.Machines, func(m Machine) bool { return m.RestoredFrom != w.Desired.RestoreFrom })
	staying := filter(old, func(m Machine) bool { return !m.Deleting })
	switch {
	case len(staying) > 0:
		p.hold(controlplanev1.RestoreHeldReason, "spec.restoreFrom asks to restore etcd from snapshot %s, which gives up what the Machines %s hold, and nothing else is changed meanwhile: delete these Machines, or remove spec.restoreFrom",
			w.Desired.RestoreFrom, enumerate(names(staying)))
	case len(old) > 0:
		for _, m := range old {
			if m.WaitsForUs {
				p.do(ReleaseMachine{Name: m.Name})
			}
		}
		p.hold(controlplanev1.WaitingForMachinesReason, "etcd is restored from snapshot %s when the Machines are gone: %s; their Deleting conditions say what they wait for", w.Desired.RestoreFrom, enumerate(names(old)))
	case len(w.Machines) > 0:
		p.planBooting(w)
	case p.restorePrepared(w) && mayCreate:
		p.planMachine(w, bootstrapv1.RoleInit)
	}
}

// restorePrepared is whether what was restored is ready for the first Machine. Otherwise it sees to that.
func (p *Plan) restorePrepared(w World) bool {
	switch w.Restore {
	case RestoreReady:
		return true
	case RestoreFailed:
		p.hold(controlplanev1.RestoreFailedReason, "snapshot %s could not be restored: %s", w.Desired.RestoreFrom, w.RestoreMessage)
	case RestoreRunning:
		p.hold(controlplanev1.RestoringReason, "snapshot %s is made ready for the first Machine: %s", w.Desired.RestoreFrom, w.RestoreMessage)
	case RestoreNone:
		p.do(PrepareRestore{Snapshot: w.Desired.RestoreFrom})
	}
	return false
}
