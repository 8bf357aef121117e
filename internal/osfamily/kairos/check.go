// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

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

// checkArgs covers what becomes a word of a command line in a unit of systemd. Labels and taints hold none of what does not survive
// that way.
func checkArgs(report *osfamily.Report, in osfamily.Input) {
	check := func(path, value string) {
		if problem := wordProblem(value); problem != "" {
			report.Errorf(path, "%s", problem)
		}
	}
	check("Machine.spec.providerID", in.Machine.ProviderID)
	for i, arg := range in.Config.Node.KubeletExtraArgs {
		check(fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i), arg.Value)
	}
}

// wordProblem is why a word does not reach a process as it is written. systemd replaces some characters, and yip executes
// templates in the whole configuration when it saves what was delivered. Braces are not escaped here, as they are in files: a
// template of the user's that is broken has yip save everything as it is, and the escape would stay.
func wordProblem(word string) string {
	switch {
	case strings.ContainsAny(word, "%$`"):
		return "must not contain %, $ or `, which systemd replaces: write the value without them"
	case strings.Contains(word, "{{"):
		return "must not contain {{, which begins a template that yip would execute: write the value without it"
	case !utf8.ValidString(word) || strings.ContainsFunc(word, unicode.IsControl):
		return "must not contain control characters: write the value without them"
	}
	return ""
}
