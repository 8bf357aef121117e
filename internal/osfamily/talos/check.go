// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"fmt"
	"slices"
	"strings"

	"github.com/siderolabs/crypto/x509"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// check finds what is wrong whatever makes the node, and what Talos cannot do. Talos runs no kubeadm; what is checked there of
// control planes and their authorities is the same here.
func check(report *osfamily.Report, in osfamily.Input, r release) {
	withToken := in
	if withToken.Join.Token == "" {
		withToken.Join.Token = osfamily.PlaceholderToken // nobody lends one: the cluster has its own, among its secrets
	}
	*report = append(*report, kubeadm.Check(withToken, ingotv1.OSFamilyTalos, Support())...)
	if r.image != nil {
		r.checkKubernetes(report, in.Cluster.KubernetesVersion)
	}
	if in.Config.JoinTimeoutSeconds != nil {
		report.Errorf("spec.joinTimeoutSeconds", "is for kubeadm, which Talos does not run: remove it")
	}
	if in.Config.RestoreFrom.Name != "" || in.Restore != nil {
		report.Errorf("spec.restoreFrom", "Talos fetches no files on first boot: name the snapshot in spec.restoreFrom of an IngotControlPlane, which takes it there")
	}
	checkArgs(report, "spec.node.kubeletExtraArgs", in.Config.Node.KubeletExtraArgs)
	for i, arg := range in.Config.Node.KubeletExtraArgs {
		if slices.Contains([]string{"config", "cert-dir", "container-runtime", "container-runtime-endpoint"}, arg.Name) {
			report.Errorf(fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i), "%s is set by Talos: remove it", arg.Name)
		}
	}
	if isControlPlane(in.Role) {
		checkControlPlane(report, in)
	}
	checkSecrets(report, in)
	checkRegistries(report, in)
}

// checkControlPlane refuses what is for kubeadm, and what Talos has no words for.
func checkControlPlane(report *osfamily.Report, in osfamily.Input) {
	const path = "spec.controlPlane"
	c := in.Config.ControlPlane
	if c.VIP != (bootstrapv1.ControlPlaneVIP{}) && c.VIP.Interface == "" {
		report.Errorf(path+".vip.interface", "Talos must be told which interface holds the address: set it, for example to eth0")
	}
	if c.ImageRepository != "" {
		report.Errorf(path+".imageRepository", "the images of Talos come from several registries: use registries with mirrors, or patches with the images themselves")
	}
	if len(c.SkipPhases) > 0 {
		report.Errorf(path+".skipPhases", "are phases of kubeadm, which Talos does not run: turn kube-proxy or CoreDNS off with a patch in spec.talos.patches")
	}
	if c.Etcd.CPURequest != "" || len(c.Etcd.ExtraEnvs) > 0 {
		report.Errorf(path+".etcd", "Talos runs etcd as a service of its own, which takes extraArgs only: remove cpuRequest and extraEnvs")
	}
	for _, component := range components(c) {
		checkArgs(report, path+"."+component.name+".extraArgs", component.settings.ExtraArgs)
		seen := map[string]bool{}
		for i, env := range component.settings.ExtraEnvs {
			if seen[env.Name] {
				report.Errorf(fmt.Sprintf("%s.%s.extraEnvs[%d]", path, component.name, i), "%s is listed twice", env.Name)
			}
			seen[env.Name] = true
		}
	}
}

type component struct {
	name     string
	settings bootstrapv1.ComponentSettings
}

func components(c bootstrapv1.ControlPlaneSettings) []component {
	return []component{{"apiServer", c.APIServer}, {"controllerManager", c.ControllerManager}, {"scheduler", c.Scheduler}, {"etcd", c.Etcd}}
}

// checkArgs refuses a flag that is listed twice: which one counts would be a matter of luck.
func checkArgs(report *osfamily.Report, path string, args []bootstrapv1.Arg) {
	seen := map[string]bool{}
	for i, arg := range args {
		if seen[arg.Name] {
			report.Errorf(fmt.Sprintf("%s[%d]", path, i), "%s is listed twice: write its values into one, with commas", arg.Name)
		}
		if arg.Value == "" {
			report.Errorf(fmt.Sprintf("%s[%d]", path, i), "%s has no value", arg.Name)
		}
		seen[arg.Name] = true
	}
}

// checkSecrets demands keys that Talos can read: it does not come up otherwise. No finding quotes one.
func checkSecrets(report *osfamily.Report, in osfamily.Input) {
	const path = "talos"
	if in.Talos == nil {
		report.Errorf(path, "the secrets of the cluster's Talos must be set: a machine of Talos joins a control plane of Talos only")
		return
	}
	judge := in.Talos.CheckWorker
	if isControlPlane(in.Role) {
		judge = in.Talos.Check
	}
	if err := judge(); err != nil {
		report.Errorf(path, "%v", err)
	}
	if in.Role == bootstrapv1.RoleWorker {
		if problem := osfamily.AuthorityProblem(string(in.Join.CACert)); problem != "" {
			report.Errorf("join.caCert", "%s", problem)
		} else if len(in.Join.CACert) == 0 {
			report.Errorf("join.caCert", "must hold the certificate of the cluster's authority: Talos knows no pins")
		}
		return
	}
	if in.Certificates == nil {
		return
	}
	for _, authority := range []struct {
		path string
		pair osfamily.KeyPair
	}{
		{"certificates.ca", in.Certificates.ClusterCA},
		{"certificates.etcd", in.Certificates.EtcdCA},
		{"certificates.proxy", in.Certificates.FrontProxyCA},
	} {
		pair := pemPair(authority.pair)
		_, certErr := pair.GetCert()
		_, keyErr := pair.GetKey()
		if certErr != nil || keyErr != nil {
			report.Errorf(authority.path, "must hold a certificate and a key in PEM form that Talos reads")
		}
	}
	if _, err := (&x509.PEMEncodedKey{Key: in.Certificates.ServiceAccount.Key}).GetKey(); err != nil {
		report.Errorf("certificates.sa", "must hold a key in PEM form that Talos reads")
	}
}

func pemPair(pair osfamily.KeyPair) *x509.PEMEncodedCertificateAndKey {
	return &x509.PEMEncodedCertificateAndKey{Crt: pair.Cert, Key: pair.Key}
}

// hide takes the secrets of an input out of what the machinery says, which quotes what it cannot read.
func hide(in osfamily.Input, err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	var secrets []string
	if in.Talos != nil {
		for key, value := range in.Talos.Data() {
			if key != talossecrets.CACertKey {
				secrets = append(secrets, string(value))
			}
		}
	}
	if c := in.Certificates; c != nil {
		for _, pair := range []osfamily.KeyPair{c.ClusterCA, c.EtcdCA, c.FrontProxyCA, c.ServiceAccount} {
			secrets = append(secrets, string(pair.Key))
		}
	}
	for _, keys := range in.Secrets {
		for _, value := range keys {
			secrets = append(secrets, string(value))
		}
	}
	for _, secret := range secrets {
		if secret = strings.Join(strings.Fields(secret), " "); secret != "" {
			text = strings.ReplaceAll(text, secret, "<hidden>")
		}
	}
	return text
}
