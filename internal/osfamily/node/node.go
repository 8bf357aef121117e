// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node finds what is wrong with an input whatever makes the node: names, networks, labels, taints, flags, and what a
// node joins by. Every family calls it, and adds what is wrong for its own images. The package renders nothing, and knows no
// operating system and no program but the kubelet.
package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/version"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// oldestKubernetes is the oldest release that Cluster API 1.14 manages, and the first whose kubeadm reads v1beta4.
const oldestKubernetes = "1.31.0"

// Check finds what cannot work on the machine, where nobody could see it fail, and what the family does not support. No
// finding holds a secret.
func Check(in osfamily.Input, family ingotv1.OSFamily, support settings.Support) osfamily.Report {
	var report osfamily.Report
	settings.Check(&report, family, support, in)
	checkChoices(&report, in)
	checkMachine(&report, in.Machine)
	checkCluster(&report, in.Cluster)
	checkNode(&report, in.Config.Node)
	checkTrust(&report, in)
	checkRestore(&report, in)
	return report
}

func checkChoices(report *osfamily.Report, in osfamily.Input) {
	switch in.Role {
	case bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker:
	default:
		report.Errorf("spec.role", "%q is not a role: use Init, ControlPlane or Worker", in.Role)
	}
	switch in.Config.SelfUpdate {
	case "", bootstrapv1.SelfUpdateAllowed, bootstrapv1.SelfUpdateDisabled:
	default:
		report.Errorf("spec.selfUpdate", "%q is neither Disabled nor Allowed", in.Config.SelfUpdate)
	}
}

// checkMachine holds names to what the Linux kernel accepts as a host name as well.
func checkMachine(report *osfamily.Report, machine osfamily.Machine) {
	if errs := validation.IsDNS1123Subdomain(machine.Name); len(errs) > 0 {
		report.Errorf("metadata.name", "the Machine's name %q cannot be a Node's name: %s", machine.Name, errs[0])
	} else if len(machine.Name) > validation.DNS1123LabelMaxLength {
		report.Errorf("metadata.name", "the Machine's name %q has %d characters, a host name at most %d: give the Machine a shorter name",
			machine.Name, len(machine.Name), validation.DNS1123LabelMaxLength)
	}
	if !isFlagValue(machine.ProviderID) {
		report.Errorf("Machine.spec.providerID", "%q must not contain white space, quotes or backslashes", machine.ProviderID)
	}
}

func checkCluster(report *osfamily.Report, cluster osfamily.Cluster) {
	const path = "Cluster.spec."
	parsed, err := version.ParseSemantic(cluster.KubernetesVersion)
	switch {
	case err != nil || !strings.HasPrefix(cluster.KubernetesVersion, "v"):
		report.Errorf("Machine.spec.version", "%q is not a Kubernetes version: write it like v1.36.3", cluster.KubernetesVersion)
	case parsed.LessThan(version.MustParseSemantic(oldestKubernetes)):
		report.Errorf("Machine.spec.version", "%s is too old: the oldest Kubernetes that can be set up is v%s", cluster.KubernetesVersion, oldestKubernetes)
	}
	if !isHost(cluster.EndpointHost) {
		report.Errorf(path+"controlPlaneEndpoint.host", "%q is neither an IP address nor a DNS name", cluster.EndpointHost)
	}
	if errs := validation.IsValidPortNum(int(cluster.EndpointPort)); len(errs) > 0 {
		report.Errorf(path+"controlPlaneEndpoint.port", "%d is not a port: %s", cluster.EndpointPort, errs[0])
	}
	checkCIDRs(report, path+"clusterNetwork.pods.cidrBlocks", cluster.PodCIDRs)
	checkCIDRs(report, path+"clusterNetwork.services.cidrBlocks", cluster.ServiceCIDRs)
	if cluster.ServiceDomain != "" && len(validation.IsDNS1123Subdomain(cluster.ServiceDomain)) > 0 {
		report.Errorf(path+"clusterNetwork.serviceDomain", "%q is not a DNS name", cluster.ServiceDomain)
	}
}

func checkCIDRs(report *osfamily.Report, path string, cidrs []string) {
	for _, cidr := range cidrs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			report.Errorf(path, "%q is not an address range: write it like 10.244.0.0/16", cidr)
		}
	}
}

// checkTrust covers what is secret; it never quotes it.
func checkTrust(report *osfamily.Report, in osfamily.Input) {
	if !bootstraputil.IsValidBootstrapToken(in.Join.Token) {
		report.Errorf("join.token", "is not a bootstrap token of the form abcdef.0123456789abcdef")
	}
	if in.Role != bootstrapv1.RoleInit {
		if len(in.Join.CACertHashes) == 0 {
			report.Errorf("join.caCertHashes", "must hold at least one pin: a node never joins a cluster that it cannot recognise")
		}
		for _, hash := range in.Join.CACertHashes {
			if !isPin(hash) {
				report.Errorf("join.caCertHashes", "holds a pin that is not of the form sha256:<64 hexadecimal digits>")
			}
		}
	}
}

// checkRestore refuses whatever would end in an empty cluster where a restored one was asked for.
func checkRestore(report *osfamily.Report, in osfamily.Input) {
	const path = "spec.restoreFrom"
	name := in.Config.RestoreFrom.Name
	switch {
	case in.Restore == nil && name == "":
	case in.Role != bootstrapv1.RoleInit:
		report.Errorf(path, "only the first control plane node can be restored, and this one has role %s: remove it", in.Role)
	case in.Restore == nil:
		report.Errorf(path, "what Secret %q lists was not read, and without it the node would make an empty cluster", name)
	default:
		if err := in.Restore.Validate(); err != nil {
			report.Errorf(path, "%v", err)
		}
	}
}

func isPin(hash string) bool {
	digits, ok := strings.CutPrefix(hash, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(strings.ToLower(digits), "0123456789abcdef") == ""
}

func isHost(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Zone() == ""
	}
	return len(validation.IsDNS1123Subdomain(host)) == 0
}

// isFlagValue says whether value survives the way of a kubelet flag: kubeadm writes it into an environment file, and
// systemd splits it at white space.
func isFlagValue(value string) bool {
	return !strings.ContainsAny(value, " \t\r\n\v\f\"'\\") && !slices.Contains([]byte(value), 0)
}

// CheckReadOnly refuses files where an image that is not changed has its programs.
func CheckReadOnly(report *osfamily.Report, files []bootstrapv1.File) {
	for i, file := range files {
		for _, folder := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/efi"} {
			if settings.Below(file.Path, folder) {
				report.Errorf(fmt.Sprintf("spec.files[%d].path", i), "%s is read-only on an image that is not changed: build the file into the image, or choose a path below /etc, /opt or /var", folder)
			}
		}
	}
}
