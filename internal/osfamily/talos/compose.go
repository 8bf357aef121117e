// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/siderolabs/crypto/x509"
	"github.com/siderolabs/talos/pkg/machinery/config/config"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/types/meta"
	"github.com/siderolabs/talos/pkg/machinery/config/types/network"
	"github.com/siderolabs/talos/pkg/machinery/nethelpers"
	corev1 "k8s.io/api/core/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// defaultPort is where Talos' API server listens unless it is told otherwise.
const defaultPort = 6443

// compose writes what Ingot sets: what Talos' machinery generates for the role, and what the node is on top of it. Images
// that are on a disk already install nothing, so nothing is said about an installer.
func compose(in osfamily.Input, r release) ([]config.Document, error) {
	generated, err := generated(in, r)
	if err != nil {
		return nil, err
	}
	d, err := newDocuments(generated, r)
	if err != nil {
		return nil, err
	}
	d.node(in)
	d.settings(in)
	if isControlPlane(in.Role) {
		d.controlPlane(in)
	}
	return d.all(), nil
}

func generated(in osfamily.Input, r release) ([]config.Document, error) {
	options := []generate.Option{
		generate.WithVersionContract(r.contract),
		generate.WithSecretsBundle(bundle(in)),
		generate.WithAdditionalSubjectAltNames(in.Config.ControlPlane.CertSANs),
		generate.WithAllowSchedulingOnControlPlanes(!hasDefaultTaint(in.Config.Node.Taints)),
		// The discovery is a service of Talos' makers on the internet. Members find each other through the control plane
		// endpoint without it.
		generate.WithClusterDiscovery(false),
	}
	if in.Cluster.ServiceDomain != "" {
		options = append(options, generate.WithDNSDomain(in.Cluster.ServiceDomain))
	}
	if in.Cluster.EndpointPort != defaultPort {
		options = append(options, generate.WithLocalAPIServerPort(int(in.Cluster.EndpointPort)))
	}
	input, err := generate.NewInput(in.Cluster.Name, "https://"+in.Cluster.Endpoint(), strings.TrimPrefix(in.Cluster.KubernetesVersion, "v"), options...)
	if err != nil {
		return nil, err
	}
	if len(in.Cluster.PodCIDRs) > 0 {
		input.PodNet = masked(in.Cluster.PodCIDRs)
	}
	if len(in.Cluster.ServiceCIDRs) > 0 {
		input.ServiceNet = masked(in.Cluster.ServiceCIDRs)
	}
	kind := machine.TypeWorker
	if isControlPlane(in.Role) {
		kind = machine.TypeControlPlane // the first one is told to make the cluster by Talos' API
	}
	provider, err := input.Config(kind)
	if err != nil {
		return nil, err
	}
	return provider.Documents(), nil
}

// masked writes ranges, which were checked, without the bits that do not count.
func masked(ranges []string) []string {
	out := make([]string, 0, len(ranges))
	for _, text := range ranges {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			out = append(out, prefix.Masked().String())
		}
	}
	return out
}

// bundle is all that is secret, in the machinery's words. A worker's has no keys.
func bundle(in osfamily.Input) *secrets.Bundle {
	certs := &secrets.Certs{
		OS:  &x509.PEMEncodedCertificateAndKey{Crt: in.Talos.CACert, Key: in.Talos.CAKey},
		K8s: &x509.PEMEncodedCertificateAndKey{Crt: in.Join.CACert},
	}
	if c := in.Certificates; c != nil && isControlPlane(in.Role) {
		certs.K8s = pemPair(c.ClusterCA)
		certs.Etcd = pemPair(c.EtcdCA)
		certs.K8sAggregator = pemPair(c.FrontProxyCA)
		certs.K8sServiceAccount = &x509.PEMEncodedKey{Key: c.ServiceAccount.Key}
	}
	return &secrets.Bundle{
		Clock:      secrets.NewFixedClock(time.Time{}), // nothing is signed here
		Certs:      certs,
		Cluster:    &secrets.Cluster{ID: in.Talos.ClusterID, Secret: in.Talos.ClusterSecret},
		TrustdInfo: &secrets.TrustdInfo{Token: in.Talos.MachineToken},
		Secrets:    &secrets.Secrets{BootstrapToken: in.Talos.BootstrapToken, SecretboxEncryptionSecret: in.Talos.SecretboxKey},
	}
}

// node sets what the Node is.
func (d *documents) node(in osfamily.Input) {
	auto := nethelpers.AutoHostnameKindOff
	hostname := network.NewHostnameConfigV1Alpha1()
	hostname.ConfigHostname, hostname.ConfigAuto = in.Machine.Name, &auto
	d.replace(hostname)

	d.addLabels(in.Config.Node.Labels)
	if in.Machine.ProviderID != "" {
		d.addKubeletArg("provider-id", in.Machine.ProviderID)
	}
	for _, arg := range in.Config.Node.KubeletExtraArgs {
		d.addKubeletArg(arg.Name, arg.Value)
	}
	// The kubelet sets them when it registers. Talos' own setting for taints is applied later, as the Node, which no worker
	// is allowed to.
	if taints := registeredTaints(in.Role, in.Config.Node.Taints); len(taints) > 0 {
		d.setKubelet("registerWithTaints", taints)
	}
}

// isDefaultTaint is whether a taint is the one that control plane nodes have unless somebody says otherwise.
func isDefaultTaint(taint corev1.Taint) bool {
	return taint.Key == "node-role.kubernetes.io/control-plane" && taint.Effect == corev1.TaintEffectNoSchedule && taint.Value == ""
}

func hasDefaultTaint(taints *[]corev1.Taint) bool {
	return taints == nil || slices.ContainsFunc(*taints, isDefaultTaint)
}

// registeredTaints leaves the default of control plane nodes to Talos, which looks after it.
func registeredTaints(role bootstrapv1.Role, taints *[]corev1.Taint) []any {
	if taints == nil {
		return nil
	}
	var out []any
	for _, taint := range *taints {
		if isControlPlane(role) && isDefaultTaint(taint) {
			continue
		}
		one := map[string]any{"key": taint.Key, "effect": string(taint.Effect)}
		if taint.Value != "" {
			one["value"] = taint.Value
		}
		out = append(out, one)
	}
	return out
}

// controlPlane sets what the components of the control plane are.
func (d *documents) controlPlane(in osfamily.Input) {
	c := in.Config.ControlPlane
	if c.VIP != (bootstrapv1.ControlPlaneVIP{}) {
		vip := network.NewLayer2VIPConfigV1Alpha1(in.Cluster.EndpointHost)
		vip.LinkName = c.VIP.Interface
		d.replace(vip)
	}
	d.setAPIServer(componentOf(c.APIServer))
	d.setControllerManager(componentOf(c.ControllerManager))
	d.setScheduler(componentOf(c.Scheduler))
	if args := argsOf(c.Etcd.ExtraArgs); args != nil {
		d.legacy.ClusterConfig.EtcdConfig.EtcdExtraArgs = args
	}
}

// podSettings are settings of one component in the machinery's words.
type podSettings struct {
	args     meta.Args
	env      map[string]string
	requests map[string]any
}

func componentOf(c bootstrapv1.ComponentSettings) podSettings {
	p := podSettings{args: argsOf(c.ExtraArgs)}
	for _, env := range c.ExtraEnvs {
		if p.env == nil {
			p.env = map[string]string{}
		}
		p.env[env.Name] = env.Value
	}
	if c.CPURequest != "" {
		p.requests = map[string]any{"cpu": c.CPURequest}
	}
	return p
}

func argsOf(args []bootstrapv1.Arg) meta.Args {
	if len(args) == 0 {
		return nil
	}
	out := meta.Args{}
	for _, arg := range args {
		out[arg.Name] = meta.NewArgValue(arg.Value, nil)
	}
	return out
}

// errNoDocument says that the machinery did not write what it is known to write.
func errNoDocument(kind string) error { return fmt.Errorf("the machinery wrote no %s", kind) }
