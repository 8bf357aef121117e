// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"fmt"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
)

// check finds what is wrong whatever makes the node, and what Kairos cannot do with k3s and k0s.
func check(in osfamily.Input) osfamily.Report {
	report := node.Check(in, ingotv1.OSFamilyKairos, Support(in.Config.Kairos.Distribution))
	if in.Role == bootstrapv1.RoleInit || in.Role == bootstrapv1.RoleControlPlane {
		report.Errorf("spec.role", "Ingot drives no control plane of k3s or k0s: use an image that carries kubeadm, with spec.kairos.distribution: kubeadm, or let another provider run the control plane")
	}
	if in.Config.JoinTimeoutSeconds != nil {
		report.Errorf("spec.joinTimeoutSeconds", "is for kubeadm, which neither k3s nor k0s runs: remove it")
	}
	switch in.Config.Kairos.Distribution {
	case bootstrapv1.KairosDistributionK3s, bootstrapv1.KairosDistributionK0s:
	default:
		report.Errorf("spec.kairos.distribution", "%q is not rendered: use kubeadm, k3s or k0s", in.Config.Kairos.Distribution)
	}
	if in.Role == bootstrapv1.RoleWorker {
		checkAuthority(&report, in)
	}
	checkArgs(&report, in)
	checkPortable(&report, in)
	return report
}

// checkAuthority covers what tells the node its cluster. k3s takes the digest of the whole file of one certificate, and of
// something else where there are more.
func checkAuthority(report *osfamily.Report, in osfamily.Input) {
	const path = "join.caCert"
	certificates := strings.Count(string(in.Join.CACert), "-----BEGIN CERTIFICATE-----")
	if problem := osfamily.AuthorityProblem(string(in.Join.CACert)); problem != "" {
		report.Errorf(path, "%s", problem)
	} else if certificates == 0 {
		report.Errorf(path, "must hold the certificate of the cluster's authority: k3s and k0s know no pins of its key")
	} else if certificates > 1 && isK3s(in) {
		report.Errorf(path, "holds %d certificates, and a worker of k3s is told one", certificates)
	}
}

// checkArgs covers what becomes a word of a command line in a unit of systemd, which replaces some characters. Labels and
// taints hold none of them.
func checkArgs(report *osfamily.Report, in osfamily.Input) {
	const why = "must not contain %%, $ or `: systemd would read something else"
	if strings.ContainsAny(in.Machine.ProviderID, "%$`") {
		report.Errorf("Machine.spec.providerID", why)
	}
	for i, arg := range in.Config.Node.KubeletExtraArgs {
		if strings.ContainsAny(arg.Value, "%$`") {
			report.Errorf(fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i), why)
		}
	}
}
