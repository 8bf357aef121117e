// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	criSocket = "unix:///run/containerd/containerd.sock"
	// initTokenTTL is how long the token that kubeadm init makes is good for. Machines that join get tokens of their
	// own, so nobody needs this one; kubeadm makes one that lasts a day if none is given.
	initTokenTTL = 15 * time.Minute
	// showJoinCommand is the phase of kubeadm init that prints a token to the console.
	showJoinCommand = "show-join-command"
	// systemVerification is the preflight check of the kernel's configuration and control groups. It asks for a file that
	// many images do not carry, about properties that no machine can change: they are for the check of the image.
	systemVerification = "SystemVerification"
	// emptyEtcdFolder is the preflight check that etcd has no data yet. A node that is restored has.
	emptyEtcdFolder = "DirAvailable--var-lib-etcd"
	// proxyMode is the one mode that needs nothing on the node but the kernel. Kubernetes calls iptables, its default,
	// a thing of the past.
	proxyMode = "nftables"
)

// kubeProxyConfiguration is the part of kube-proxy's configuration that is set.
type kubeProxyConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	Mode string `json:"mode"`
}

// configurationYAML writes the documents that kubeadm reads for the role.
func configurationYAML(in osfamily.Input) ([]byte, error) {
	documents := []any{joinConfiguration(in)}
	if in.Role == bootstrapv1.RoleInit {
		documents = []any{initConfiguration(in), clusterConfiguration(in), kubeProxyConfiguration{
			TypeMeta: metav1.TypeMeta{APIVersion: "kubeproxy.config.k8s.io/v1alpha1", Kind: "KubeProxyConfiguration"},
			Mode:     proxyMode,
		}}
	}
	var out bytes.Buffer
	for i, document := range documents {
		if i > 0 {
			out.WriteString("---\n")
		}
		data, err := yaml.Marshal(document)
		if err != nil {
			return nil, err
		}
		out.Write(data)
	}
	return out.Bytes(), nil
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: kubeadmv1.GroupVersion.String(), Kind: kind}
}

func initConfiguration(in osfamily.Input) *kubeadmv1.InitConfiguration {
	id, secret, _ := strings.Cut(in.Join.Token, ".")
	skip := append([]string{}, in.Config.ControlPlane.SkipPhases...)
	if !slices.Contains(skip, showJoinCommand) {
		skip = append(skip, showJoinCommand)
	}
	return &kubeadmv1.InitConfiguration{
		TypeMeta: typeMeta("InitConfiguration"),
		BootstrapTokens: []kubeadmv1.BootstrapToken{{
			Token:       &kubeadmv1.BootstrapTokenString{ID: id, Secret: secret},
			Description: "made by the first control plane node",
			TTL:         &metav1.Duration{Duration: initTokenTTL},
		}},
		NodeRegistration: nodeRegistration(in),
		LocalAPIEndpoint: localAPIEndpoint(in),
		SkipPhases:       skip,
		Patches:          patches(in),
		Timeouts:         timeouts(in.Config.JoinTimeoutSeconds),
	}
}

func clusterConfiguration(in osfamily.Input) *kubeadmv1.ClusterConfiguration {
	settings := in.Config.ControlPlane
	out := &kubeadmv1.ClusterConfiguration{
		TypeMeta:             typeMeta("ClusterConfiguration"),
		ClusterName:          in.Cluster.Name,
		KubernetesVersion:    in.Cluster.KubernetesVersion,
		ControlPlaneEndpoint: in.Cluster.Endpoint(),
		Networking: kubeadmv1.Networking{
			PodSubnet:     strings.Join(in.Cluster.PodCIDRs, ","),
			ServiceSubnet: strings.Join(in.Cluster.ServiceCIDRs, ","),
			DNSDomain:     in.Cluster.ServiceDomain,
		},
		APIServer: kubeadmv1.APIServer{
			ControlPlaneComponent: component(settings.APIServer),
			CertSANs:              settings.CertSANs,
		},
		ControllerManager:   component(settings.ControllerManager),
		Scheduler:           component(settings.Scheduler),
		ImageRepository:     settings.ImageRepository,
		EncryptionAlgorithm: kubeadmv1.EncryptionAlgorithmType(settings.KeyAlgorithm),
	}
	if etcd := component(settings.Etcd); etcd.ExtraArgs != nil || etcd.ExtraEnvs != nil {
		out.Etcd.Local = &kubeadmv1.LocalEtcd{ExtraArgs: etcd.ExtraArgs, ExtraEnvs: etcd.ExtraEnvs}
	}
	return out
}

func joinConfiguration(in osfamily.Input) *kubeadmv1.JoinConfiguration {
	out := &kubeadmv1.JoinConfiguration{
		TypeMeta:         typeMeta("JoinConfiguration"),
		NodeRegistration: nodeRegistration(in),
		Discovery: kubeadmv1.Discovery{BootstrapToken: &kubeadmv1.BootstrapTokenDiscovery{
			Token:             in.Join.Token,
			APIServerEndpoint: in.Cluster.Endpoint(),
			CACertHashes:      in.Join.CACertHashes,
		}},
		Patches:  patches(in),
		Timeouts: timeouts(in.Config.JoinTimeoutSeconds),
	}
	if isControlPlane(in.Role) {
		out.ControlPlane = &kubeadmv1.JoinControlPlane{LocalAPIEndpoint: localAPIEndpoint(in)}
	}
	return out
}

// nodeRegistration leaves taints null where the user set none, which gives a control plane its default taint.
func nodeRegistration(in osfamily.Input) kubeadmv1.NodeRegistrationOptions {
	out := kubeadmv1.NodeRegistrationOptions{
		Name:                  in.Machine.Name,
		CRISocket:             criSocket,
		IgnorePreflightErrors: []string{systemVerification},
	}
	if in.Restore != nil {
		out.IgnorePreflightErrors = append(out.IgnorePreflightErrors, emptyEtcdFolder)
	}
	if in.Config.Node.Taints != nil {
		out.Taints = append([]corev1.Taint{}, *in.Config.Node.Taints...)
	}
	if in.Machine.ProviderID != "" {
		out.KubeletExtraArgs = append(out.KubeletExtraArgs, kubeadmv1.Arg{Name: "provider-id", Value: in.Machine.ProviderID})
	}
	if len(in.Config.Node.Labels) > 0 {
		var labels []string
		for key, value := range in.Config.Node.Labels {
			labels = append(labels, key+"="+value)
		}
		slices.Sort(labels)
		out.KubeletExtraArgs = append(out.KubeletExtraArgs, kubeadmv1.Arg{Name: "node-labels", Value: strings.Join(labels, ",")})
	}
	out.KubeletExtraArgs = append(out.KubeletExtraArgs, args(in.Config.Node.KubeletExtraArgs)...)
	return out
}

// localAPIEndpoint sets the port only where the node itself holds the endpoint: nothing else could translate it.
func localAPIEndpoint(in osfamily.Input) kubeadmv1.APIEndpoint {
	if !wantsVIP(in) {
		return kubeadmv1.APIEndpoint{}
	}
	return kubeadmv1.APIEndpoint{BindPort: in.Cluster.EndpointPort}
}

func patches(in osfamily.Input) *kubeadmv1.Patches {
	patchesPods := isControlPlane(in.Role) && len(patchFiles(in.Config.ControlPlane)) > 0
	if !patchesPods && !setsKubelet(in.Config.Node.Kubelet) {
		return nil
	}
	return &kubeadmv1.Patches{Directory: patchesPath}
}

// timeouts gives every step of kubeadm the same time. The first one also becomes the startup probe of the static Pods.
func timeouts(seconds *int32) *kubeadmv1.Timeouts {
	if seconds == nil {
		return nil
	}
	each := func() *metav1.Duration { return duration(seconds) }
	return &kubeadmv1.Timeouts{
		ControlPlaneComponentHealthCheck: each(),
		KubeletHealthCheck:               each(),
		KubernetesAPICall:                each(),
		EtcdAPICall:                      each(),
		TLSBootstrap:                     each(),
		Discovery:                        each(),
	}
}

func component(settings bootstrapv1.ComponentSettings) kubeadmv1.ControlPlaneComponent {
	out := kubeadmv1.ControlPlaneComponent{ExtraArgs: args(settings.ExtraArgs)}
	for _, env := range settings.ExtraEnvs {
		out.ExtraEnvs = append(out.ExtraEnvs, kubeadmv1.EnvVar{EnvVar: corev1.EnvVar{Name: env.Name, Value: env.Value}})
	}
	return out
}

func args(in []bootstrapv1.Arg) []kubeadmv1.Arg {
	var out []kubeadmv1.Arg
	for _, arg := range in {
		out = append(out, kubeadmv1.Arg{Name: arg.Name, Value: arg.Value})
	}
	return out
}
