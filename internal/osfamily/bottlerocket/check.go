// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
)

// check finds what is wrong whatever makes the node, and what Bottlerocket cannot do. The node joins a control plane that
// kubeadm, or something like it, made, with the same token.
func check(in osfamily.Input) osfamily.Report {
	report := node.Check(in, ingotv1.OSFamilyBottlerocket, Support())
	if in.Role == bootstrapv1.RoleInit || in.Role == bootstrapv1.RoleControlPlane {
		report.Errorf("spec.role", "Bottlerocket runs workers only, because upstream supports no control plane on it: "+
			"give the control plane another operating system, for example Talos or Flatcar")
	}
	if in.Config.JoinTimeoutSeconds != nil {
		report.Errorf("spec.joinTimeoutSeconds", "is for kubeadm, which Bottlerocket does not run: remove it")
	}
	if in.Role == bootstrapv1.RoleWorker {
		if problem := osfamily.AuthorityProblem(string(in.Join.CACert)); problem != "" {
			report.Errorf("join.caCert", "%s", problem)
		} else if len(in.Join.CACert) == 0 {
			report.Errorf("join.caCert", "must hold the certificate of the cluster's authority: Bottlerocket knows no pins")
		}
	}
	if _, err := dnsAddress(in.Cluster.ServiceCIDRs); err != nil {
		report.Errorf("Cluster.spec.clusterNetwork.services.cidrBlocks", "%v", err)
	}
	return report
}
