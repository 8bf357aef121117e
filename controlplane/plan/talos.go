// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// holdTalos makes no Machine of Talos: nobody here calls Talos' API yet, and without that call no Machine ever makes the
// cluster. This is the only place that says so; whoever drives Talos removes it.
func (p *Plan) holdTalos(w World) bool {
	if w.Desired.Config.Talos == nil {
		return false
	}
	p.hold(controlplanev1.OSNotDrivenReason, "this version of Ingot renders for Talos and makes its secrets, and does not drive a control plane of it yet: "+
		"no Machine is made; give spec.config another operating system in another Cluster, or wait for a version that does")
	return true
}
