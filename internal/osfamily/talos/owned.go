// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

// place is a part of a configuration that patches may not change.
type place struct {
	// kind is the kind of the document; empty for the large one that has none.
	kind string
	// path is where in the document; empty for all documents of the kind.
	path string
	// why ends a sentence that begins with the place.
	why string
}

// String names the place as the user would write it.
func (p place) String() string {
	switch {
	case p.kind == "":
		return p.path
	case p.path == "":
		return p.kind
	default:
		return p.kind + "." + p.path
	}
}

// owned are what Ingot decides, and nobody else: other objects say it, and Ingot acts on what they say.
func owned() []place {
	const (
		kept    = "is one of the cluster's secrets, which Ingot keeps in Secrets of the management cluster: remove it"
		cluster = "is what the Cluster says: change it there, or remove it"
		name    = "is the name of the Machine, which Cluster API looks for: remove it"
		id      = "is what Cluster API knows the Node by: remove it"
		role    = "is decided by whether the Machine is of the control plane: remove it"
		joins   = "would keep the Node out of its cluster: remove it"
		taints  = "is set by Ingot: use spec.node.taints"
		port    = "follows the Cluster's control plane endpoint: remove it"
	)
	return []place{
		{"", "machine.type", role},
		{"", "machine.token", kept},
		{"", "machine.ca", kept},
		{"", "machine.acceptedCAs", kept},
		{"", "machine.network.hostname", name},
		{"HostnameConfig", "", name},
		{"", "machine.kubelet.extraArgs.provider-id", id},
		{"", "machine.kubelet.extraConfig.providerID", id},
		{"", "machine.kubelet.extraArgs.hostname-override", name},
		{"", "machine.kubelet.extraConfig.registerWithTaints", taints},
		{"", "machine.kubelet.skipNodeRegistration", joins},
		{"", "machine.kubelet.extraConfig.registerNode", joins},
		{"KubeletConfig", "extraArgs.provider-id", id},
		{"KubeletConfig", "config.providerID", id},
		{"KubeletConfig", "extraArgs.hostname-override", name},
		{"KubeletConfig", "config.registerWithTaints", taints},
		{"KubeletConfig", "config.registerNode", joins},
		{"KubeNodeConfig", "skipNodeRegistration", joins},
		{"", "cluster.id", kept},
		{"", "cluster.secret", kept},
		{"", "cluster.token", kept},
		{"DiscoveryIdentityConfig", "", kept},
		{"", "cluster.ca", kept},
		{"", "cluster.acceptedCAs", kept},
		{"", "cluster.aggregatorCA", kept},
		{"", "cluster.serviceAccount", kept},
		{"", "cluster.etcd.ca", kept},
		{"", "cluster.secretboxEncryptionSecret", kept},
		{"", "cluster.aescbcEncryptionSecret", kept},
		{"KubeAPIServerCAConfig", "", kept},
		{"KubeAggregatorCAConfig", "", kept},
		{"KubeServiceAccountConfig", "", kept},
		{"KubeEtcdEncryptionConfig", "", kept},
		{"", "cluster.clusterName", cluster},
		{"", "cluster.controlPlane.endpoint", cluster},
		{"KubeClusterConfig", "", cluster},
		{"", "cluster.controlPlane.localAPIServerPort", port},
		{"KubeAPIServerConfig", "apiPort", port},
		{"", "cluster.network.dnsDomain", cluster},
		{"", "cluster.network.podSubnets", cluster},
		{"", "cluster.network.serviceSubnets", cluster},
		{"KubeNetworkConfig", "", cluster},
	}
}

// images carry the version of Kubernetes in their names.
func images() []place {
	return []place{
		{"", "machine.kubelet.image", ""},
		{"", "cluster.apiServer.image", ""},
		{"", "cluster.controllerManager.image", ""},
		{"", "cluster.scheduler.image", ""},
		{"", "cluster.proxy.image", ""},
		{"KubeletConfig", "image", ""},
		{"KubeAPIServerConfig", "image", ""},
		{"KubeControllerManagerConfig", "image", ""},
		{"KubeSchedulerConfig", "image", ""},
		{"KubeProxyConfig", "image", ""},
	}
}

// guardRails are through what a machine would become another one than its image. Talos does nothing of the kind by itself.
func guardRails() []place {
	const (
		installs = "would put another image on the disk than the one that the machine was made from"
		remote   = "lets somebody outside the cluster change the machine"
		pods     = "lets Pods upgrade the operating system and change its configuration"
		mesh     = "would lead the machine's traffic through a network that Ingot does not know"
	)
	return []place{
		{"", "machine.install", installs},
		{"UnattendedInstallConfig", "", installs},
		{"SideroLinkConfig", "", remote},
		{"", "machine.features.kubernetesTalosAPIAccess", pods},
		{"KubeTalosAPIAccessConfig", "", pods},
		{"", "machine.network.kubespan", mesh},
		{"KubeSpanConfig", "", mesh},
		{"KubeSpanEndpointsConfig", "", mesh},
	}
}
