// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

func checkNode(report *osfamily.Report, node bootstrapv1.NodeSettings) {
	for _, key := range slices.Sorted(maps.Keys(node.Labels)) {
		checkLabel(report, fmt.Sprintf("spec.node.labels[%s]", key), key, node.Labels[key])
	}
	if node.Taints != nil {
		for i, taint := range *node.Taints {
			checkTaint(report, fmt.Sprintf("spec.node.taints[%d]", i), taint)
		}
	}
	switch node.IdentityReport {
	case "", bootstrapv1.IdentityReportNone, bootstrapv1.IdentityReportOSRelease:
	default:
		report.Errorf("spec.node.identityReport", "%q is neither None nor OSRelease", node.IdentityReport)
	}
	CheckArgs(report, "spec.node.kubeletExtraArgs", node.KubeletExtraArgs)
	for i, arg := range node.KubeletExtraArgs {
		path := fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i)
		switch arg.Name {
		case "provider-id", "node-labels", "register-with-taints", "hostname-override", "kubeconfig", "bootstrap-kubeconfig":
			report.Errorf(path, "%s is set by Ingot: use labels and taints", arg.Name)
		}
		if !isFlagValue(arg.Value) {
			report.Errorf(path, "the value of %s must not contain white space, quotes or backslashes: they do not survive systemd's environment file", arg.Name)
		}
	}
}

func checkLabel(report *osfamily.Report, path, key, value string) {
	if errs := validation.IsQualifiedName(key); len(errs) > 0 {
		report.Errorf(path, "is not a label key: %s", errs[0])
		return
	}
	if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
		report.Errorf(path, "%q is not a label value: %s", value, errs[0])
	}
	if !kubeletMaySet(key) {
		report.Errorf(path, "the kubelet may not set this label and would not start: set it on the Machine's metadata, Cluster API copies it")
	}
}

// kubeletMaySet follows the kubelet, which refuses to start with labels of Kubernetes' own domains other than these.
func kubeletMaySet(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found || !inDomain(domain, "kubernetes.io") && !inDomain(domain, "k8s.io") {
		return true
	}
	if inDomain(domain, corev1.LabelNamespaceSuffixKubelet) || inDomain(domain, corev1.LabelNamespaceSuffixNode) {
		return true
	}
	switch key {
	case corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
		corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
		corev1.LabelInstanceType, corev1.LabelInstanceTypeStable,
		corev1.LabelOSStable, corev1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch":
		return true
	}
	return false
}

func inDomain(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

func checkTaint(report *osfamily.Report, path string, taint corev1.Taint) {
	if errs := validation.IsQualifiedName(taint.Key); len(errs) > 0 {
		report.Errorf(path+".key", "%q is not a taint key: %s", taint.Key, errs[0])
	}
	if errs := validation.IsValidLabelValue(taint.Value); len(errs) > 0 {
		report.Errorf(path+".value", "%q is not a taint value: %s", taint.Value, errs[0])
	}
	switch taint.Effect {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		report.Errorf(path+".effect", "%q is not an effect: use NoSchedule, PreferNoSchedule or NoExecute", taint.Effect)
	}
}

// CheckArgs finds names of flags that are none.
func CheckArgs(report *osfamily.Report, path string, args []bootstrapv1.Arg) {
	for i, arg := range args {
		if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(arg.Name) {
			report.Errorf(fmt.Sprintf("%s[%d].name", path, i), "%q is not a flag: write it without leading dashes", arg.Name)
		}
	}
}
