// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"net/netip"
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Check finds what package node finds, and what kubeadm could not work with.
func Check(in osfamily.Input, family ingotv1.OSFamily, support settings.Support) osfamily.Report {
	report := node.Check(in, family, support)
	node.CheckReadOnly(&report, in.Config.Files)
	if isControlPlane(in.Role) {
		checkCertificates(&report, in.Certificates)
		checkControlPlane(&report, in.Config.ControlPlane)
		checkVIP(&report, in)
	}
	if seconds := in.Config.JoinTimeoutSeconds; seconds != nil && *seconds <= 0 {
		report.Errorf("spec.joinTimeoutSeconds", "must be a positive number of seconds")
	}
	return report
}

// checkCertificates covers what is secret; it never quotes it.
func checkCertificates(report *osfamily.Report, certs *osfamily.Certificates) {
	if certs == nil {
		report.Errorf("certificates", "must be set: a control plane node needs the cluster's authorities")
		return
	}
	for _, purpose := range []struct {
		path string
		pair osfamily.KeyPair
	}{
		{"certificates.ca", certs.ClusterCA},
		{"certificates.etcd", certs.EtcdCA},
		{"certificates.proxy", certs.FrontProxyCA},
		{"certificates.sa", certs.ServiceAccount},
	} {
		if len(purpose.pair.Cert) == 0 || len(purpose.pair.Key) == 0 {
			report.Errorf(purpose.path, "must hold a certificate (or public key) and its private key")
		}
	}
}

func checkControlPlane(report *osfamily.Report, settings bootstrapv1.ControlPlaneSettings) {
	for _, pod := range staticPods(settings) {
		node.CheckArgs(report, pod.path+".extraArgs", pod.settings.ExtraArgs)
		for i, env := range pod.settings.ExtraEnvs {
			if errs := validation.IsEnvVarName(env.Name); len(errs) > 0 {
				report.Errorf(fmt.Sprintf("%s.extraEnvs[%d].name", pod.path, i), "%q is not a variable name: %s", env.Name, errs[0])
			}
		}
		if request := pod.settings.CPURequest; request != "" {
			if !regexp.MustCompile(`^[0-9]+m?$`).MatchString(request) {
				report.Errorf(pod.path+".cpuRequest", "%q is not a CPU quantity: write it like 500m or 2", request)
			} else if _, err := resource.ParseQuantity(request); err != nil {
				report.Errorf(pod.path+".cpuRequest", "%q is not a CPU quantity: %v", request, err)
			}
		}
	}
	switch settings.KeyAlgorithm {
	case "", "RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384":
	default:
		report.Errorf("spec.controlPlane.keyAlgorithm", "%q is not known: use RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384", settings.KeyAlgorithm)
	}
	for i, san := range settings.CertSANs {
		if _, err := netip.ParseAddr(san); err == nil {
			continue
		}
		if len(validation.IsDNS1123Subdomain(san)) > 0 && len(validation.IsWildcardDNS1123Subdomain(san)) > 0 {
			report.Errorf(fmt.Sprintf("spec.controlPlane.certSANs[%d]", i), "%q is neither an IP address nor a DNS name", san)
		}
	}
}

func checkVIP(report *osfamily.Report, in osfamily.Input) {
	const path = "spec.controlPlane.vip"
	vip := in.Config.ControlPlane.VIP
	if vip == (bootstrapv1.ControlPlaneVIP{}) {
		return
	}
	if vip.VirtualRouterID < 1 || vip.VirtualRouterID > 255 {
		report.Errorf(path+".virtualRouterID", "%d is not a VRRP router number: use 1 to 255", vip.VirtualRouterID)
	}
	if vip.Interface != "" && !regexp.MustCompile(`^[a-zA-Z0-9._-]{1,15}$`).MatchString(vip.Interface) {
		report.Errorf(path+".interface", "%q is not the name of a network interface", vip.Interface)
	}
	if address, err := netip.ParseAddr(in.Cluster.EndpointHost); err != nil || !address.Is4() {
		report.Errorf(path, "the Cluster's control plane endpoint %q must be an IPv4 address for nodes to hold it: "+
			"remove vip, or set the endpoint to a free IPv4 address", in.Cluster.EndpointHost)
	}
}
