// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

const (
	tokenSecret = "q0w1e2r3t4y5u6i7" //nolint:gosec // opens nothing
	brokenToken = "notatoken"
	// secretMark stands in every private part of the cases, so that a leak is found by searching for it.
	secretMark = "PRIVATE"
)

// Case is one input with the reason why it is tried.
type Case struct {
	// Name is a word that file names can hold.
	Name string
	// Why is a sentence.
	Why string
	// Input is what is rendered.
	Input osfamily.Input
	// Path is where the report must have an Error; set for broken cases only.
	Path string
	// Setting is the portable setting by which the input differs from Without; set for cases of one setting only.
	Setting settings.Setting
	Without *osfamily.Input
}

// Cases are the portable inputs: every role and every option. selectFamily sets the operating system block.
func Cases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []Case {
	cases := []Case{
		{Name: "init", Why: "the first control plane node with nothing set", Input: input(bootstrapv1.RoleInit)},
		{Name: "control-plane", Why: "a joining control plane node with nothing set", Input: input(bootstrapv1.RoleControlPlane)},
		{Name: "worker", Why: "a worker with nothing set", Input: input(bootstrapv1.RoleWorker)},
		{Name: "init-full", Why: "every option at once on the first node", Input: full(bootstrapv1.RoleInit)},
		{Name: "control-plane-full", Why: "every option at once on a joining control plane node", Input: full(bootstrapv1.RoleControlPlane)},
		{Name: "worker-full", Why: "a worker ignores control plane settings and takes the rest", Input: full(bootstrapv1.RoleWorker)},
	}
	add := func(name, why string, role bootstrapv1.Role, change func(*osfamily.Input)) {
		in := input(role)
		change(&in)
		cases = append(cases, Case{Name: name, Why: why, Input: in})
	}
	add("worker-no-provider-id", "a foreign infrastructure provider sets the Node's provider ID itself", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Machine.ProviderID = "" })
	add("worker-self-update-allowed", "opting out of the guard rails is explicit", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed })
	add("worker-identity-report", "a machine whose osImage has no version reports its os-release itself", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Config.Node.IdentityReport = bootstrapv1.IdentityReportOSRelease })
	reporting, silent := &cases[len(cases)-1], input(bootstrapv1.RoleWorker)
	reporting.Setting, reporting.Without = settings.IdentityReport, &silent
	add("worker-ipv6", "an IPv6 endpoint needs brackets", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Cluster.EndpointHost = "2001:db8::10" })
	add("init-no-taints", "an empty list of taints makes the control plane schedulable", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Config.Node.Taints = &[]corev1.Taint{} })
	add("init-vip-default-interface", "the interface of the virtual address is found on the machine", bootstrapv1.RoleInit,
		func(in *osfamily.Input) {
			in.Config.ControlPlane.VIP = bootstrapv1.ControlPlaneVIP{VirtualRouterID: 51}
		})
	add("init-restore", "a snapshot is fetched from a signed address whose server the image trusts", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { restoring(in, "") })
	add("init-restore-own-authority", "the manager serves the snapshot with an authority of its own", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { restoring(in, sampleAuthority) })
	add("init-defaults-of-kubeadm", "without networks from the Cluster kubeadm's defaults count", bootstrapv1.RoleInit,
		func(in *osfamily.Input) {
			in.Cluster.PodCIDRs, in.Cluster.ServiceCIDRs, in.Cluster.ServiceDomain = nil, nil, ""
		})
	return selected(append(cases, settingCases()...), selectFamily)
}

// BrokenCases are inputs that no family can render. Each would fail on the machine, where nobody sees it.
func BrokenCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []Case {
	var cases []Case
	add := func(name, path string, role bootstrapv1.Role, change func(*osfamily.Input)) {
		in := input(role)
		change(&in)
		cases = append(cases, Case{Name: name, Path: path, Input: in})
	}
	add("no role", "spec.role", "", func(*osfamily.Input) {})
	add("no machine name", "metadata.name", bootstrapv1.RoleWorker, func(in *osfamily.Input) { in.Machine.Name = "" })
	add("a machine name that is no host name", "metadata.name", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Machine.Name = strings.Repeat("a", 64) })
	add("no version", "Machine.spec.version", bootstrapv1.RoleWorker, func(in *osfamily.Input) { in.Cluster.KubernetesVersion = "" })
	add("no endpoint", "Cluster.spec.controlPlaneEndpoint.host", bootstrapv1.RoleWorker, func(in *osfamily.Input) { in.Cluster.EndpointHost = "" })
	add("no endpoint port", "Cluster.spec.controlPlaneEndpoint.port", bootstrapv1.RoleWorker, func(in *osfamily.Input) { in.Cluster.EndpointPort = 0 })
	add("a bad pod range", "Cluster.spec.clusterNetwork.pods.cidrBlocks", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Cluster.PodCIDRs = []string{"10.244.0.0"} })
	add("a broken token", "join.token", bootstrapv1.RoleWorker, func(in *osfamily.Input) { in.Join.Token = brokenToken })
	add("no pin", "join.caCertHashes", bootstrapv1.RoleControlPlane, func(in *osfamily.Input) { in.Join.CACertHashes = nil })
	add("no certificates", "certificates", bootstrapv1.RoleInit, func(in *osfamily.Input) { in.Certificates = nil })
	add("a missing key", "certificates.etcd", bootstrapv1.RoleControlPlane, func(in *osfamily.Input) { in.Certificates.EtcdCA.Key = nil })
	add("a label that the kubelet may not set", "spec.node.labels[node-role.kubernetes.io/worker]", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) {
			in.Config.Node.Labels = map[string]string{"node-role.kubernetes.io/worker": ""}
		})
	add("a label value with a blank", "spec.node.labels[example.com/rack]", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Config.Node.Labels = map[string]string{"example.com/rack": "a b"} })
	add("a taint without effect", "spec.node.taints[0].effect", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Config.Node.Taints = &[]corev1.Taint{{Key: "a"}} })
	add("a report of something unknown", "spec.node.identityReport", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) { in.Config.Node.IdentityReport = "Digest" })
	add("a kubelet flag of Ingot", "spec.node.kubeletExtraArgs[0]", bootstrapv1.RoleWorker,
		func(in *osfamily.Input) {
			in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "provider-id", Value: "x"}}
		})
	add("a virtual address that is a name", "spec.controlPlane.vip", bootstrapv1.RoleInit, func(in *osfamily.Input) {
		in.Cluster.EndpointHost = "api.example.com"
		in.Config.ControlPlane.VIP = bootstrapv1.ControlPlaneVIP{VirtualRouterID: 1}
	})
	add("a CPU request that is none", "spec.controlPlane.etcd.cpuRequest", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Config.ControlPlane.Etcd.CPURequest = "much" })
	add("an unknown key algorithm", "spec.controlPlane.keyAlgorithm", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Config.ControlPlane.KeyAlgorithm = "DSA" })
	add("a name that no certificate can hold", "spec.controlPlane.certSANs[0]", bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Config.ControlPlane.CertSANs = []string{"not a name"} })
	add("a worker that restores", restorePath, bootstrapv1.RoleWorker, func(in *osfamily.Input) { restoring(in, "") })
	add("a restore of a control plane that is there", restorePath, bootstrapv1.RoleControlPlane,
		func(in *osfamily.Input) { restoring(in, "") })
	add("a restore that nobody read", restorePath, bootstrapv1.RoleInit,
		func(in *osfamily.Input) { in.Config.RestoreFrom.Name = "harbour-restore" })
	add("a restore by an address that everybody can listen to", restorePath, bootstrapv1.RoleInit, func(in *osfamily.Input) {
		restoring(in, "")
		in.Restore.Files[0].URL = "http://backup.example.com/db?signature=" + secretMark
	})
	add("a restore beside etcd's folder", restorePath, bootstrapv1.RoleInit, func(in *osfamily.Input) {
		restoring(in, "")
		in.Restore.Files[0].Path = "/etc/shadow"
	})
	return selected(append(cases, brokenSettings()...), selectFamily)
}

// Worker is the portable input of a worker with nothing set but the operating system block, for a family to make its own
// cases of.
func Worker(selectFamily func(*bootstrapv1.IngotConfigSpec)) osfamily.Input {
	return Node(bootstrapv1.RoleWorker, selectFamily)
}

// FullWorker is the portable input of a worker with every portable option. selectFamily is asked last, so that it can take
// back what the family has not.
func FullWorker(selectFamily func(*bootstrapv1.IngotConfigSpec)) osfamily.Input {
	return FullNode(bootstrapv1.RoleWorker, selectFamily)
}

// Node is the portable input of a role with nothing set but the operating system block.
func Node(role bootstrapv1.Role, selectFamily func(*bootstrapv1.IngotConfigSpec)) osfamily.Input {
	in := input(role)
	selectInto(&in, selectFamily)
	return in
}

// FullNode is the portable input of a role with every portable option, like FullWorker.
func FullNode(role bootstrapv1.Role, selectFamily func(*bootstrapv1.IngotConfigSpec)) osfamily.Input {
	in := full(role)
	selectInto(&in, selectFamily)
	return in
}

const restorePath = "spec.restoreFrom"

// sampleAuthority is a certificate that never changes. It signed nothing.
const sampleAuthority = osfamily.PlaceholderAuthority

// restoring makes the input restore what the two kinds of files of a snapshot stand for.
func restoring(in *osfamily.Input, authority string) {
	file := func(path, digit string, bytes int64) osfamily.RestoreFile {
		return osfamily.RestoreFile{
			Path:      osfamily.RestoreFolder + "/member/" + path,
			URL:       "https://backup.example.com/harbour/" + path + "?signature=" + secretMark,
			SHA512:    strings.Repeat(digit, 128),
			SizeBytes: bytes,
		}
	}
	in.Config.RestoreFrom.Name = "harbour-restore"
	in.Restore = &osfamily.Restore{Authority: authority, Files: []osfamily.RestoreFile{
		file("snap/db", "a", 2<<30),
		file("snap/0000000000000001-0000000000000007.snap", "b", 8<<10),
		file("wal/0000000000000000-0000000000000000.wal", "c", 64<<20),
	}}
}

func selected(cases []Case, selectFamily func(*bootstrapv1.IngotConfigSpec)) []Case {
	for i := range cases {
		selectInto(&cases[i].Input, selectFamily)
		if cases[i].Without != nil {
			selectInto(cases[i].Without, selectFamily)
		}
	}
	return cases
}

// selectInto sets the operating system block, and what its family needs beside it.
func selectInto(in *osfamily.Input, selectFamily func(*bootstrapv1.IngotConfigSpec)) {
	selectFamily(&in.Config)
	if in.Config.Talos != nil {
		addTalos(in)
	}
}

// addTalos adds what the control plane provider makes for a cluster of Talos. Talos reads authorities before it accepts them,
// so text does not do for them here; what is broken stays so.
func addTalos(in *osfamily.Input) {
	bytes := func(of string) string {
		sum := sha256.Sum256([]byte(secretMark + " " + of))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	cert, key := talossecrets.Known(secretMark + " authority of Talos")
	secrets := talossecrets.Secrets{
		CACert: cert, CAKey: key, ClusterID: bytes("cluster"), ClusterSecret: bytes("secret"), SecretboxKey: bytes("secretbox"),
		MachineToken: "machin." + tokenSecret, BootstrapToken: "abcdef." + tokenSecret,
	}
	if in.Role == bootstrapv1.RoleWorker {
		secrets = secrets.ForWorker()
	}
	in.Talos = &secrets
	if c := in.Certificates; c != nil {
		for of, pair := range map[string]*osfamily.KeyPair{"cluster": &c.ClusterCA, "etcd": &c.EtcdCA, "front proxy": &c.FrontProxyCA, "service account": &c.ServiceAccount} {
			cert, key := talossecrets.Known(secretMark + " authority of the " + of)
			if len(pair.Cert) > 0 && len(pair.Key) > 0 {
				pair.Cert, pair.Key = cert, key
			}
		}
	}
	if in.Config.Talos.Contract == "1.12" && in.Cluster.KubernetesVersion == newest {
		in.Cluster.KubernetesVersion = "v1.35.6" // the newest that it runs
	}
}

// newest is the Kubernetes of the cases.
const newest = "v1.36.3"

// input is the smallest good input of a role.
func input(role bootstrapv1.Role) osfamily.Input {
	in := osfamily.Input{
		Cluster: osfamily.Cluster{
			Name:              "harbour",
			KubernetesVersion: newest,
			EndpointHost:      "192.0.2.10",
			EndpointPort:      6443,
			PodCIDRs:          []string{"10.244.0.0/16"},
			ServiceCIDRs:      []string{"10.96.0.0/12"},
			ServiceDomain:     "cluster.local",
		},
		Machine: osfamily.Machine{
			Name:       "harbour-node-1",
			ProviderID: "ingot://6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		},
		Role: role,
		Join: osfamily.Join{Token: "abcdef." + tokenSecret},
	}
	if role != bootstrapv1.RoleInit {
		in.Join.CACertHashes = []string{"sha256:" + strings.Repeat("0123456789abcdef", 4)}
		in.Join.CACert = []byte(sampleAuthority)
	}
	if role != bootstrapv1.RoleWorker {
		in.Certificates = &osfamily.Certificates{
			ClusterCA:      keyPair("cluster authority"),
			EtcdCA:         keyPair("etcd authority"),
			FrontProxyCA:   keyPair("front proxy authority"),
			ServiceAccount: keyPair("service account"),
		}
	}
	return in
}

func keyPair(name string) osfamily.KeyPair {
	return osfamily.KeyPair{Cert: []byte("certificate of the " + name + "\n"), Key: []byte(secretMark + " key of the " + name + "\n")}
}

// full sets every portable option.
func full(role bootstrapv1.Role) osfamily.Input {
	in := input(role)
	in.Config = bootstrapv1.IngotConfigSpec{
		Role:               role,
		SelfUpdate:         bootstrapv1.SelfUpdateDisabled,
		JoinTimeoutSeconds: ptr.To[int32](600),
		Node: bootstrapv1.NodeSettings{
			Labels: map[string]string{
				"example.com/rack":              "r7",
				"example.com/row":               "",
				"node.kubernetes.io/exposed":    "true",
				"topology.kubernetes.io/zone":   "z1",
				"topology.kubernetes.io/region": "eu-1",
			},
			Taints: &[]corev1.Taint{
				{Key: "example.com/dedicated", Value: "storage", Effect: corev1.TaintEffectNoSchedule},
				{Key: "example.com/warm", Effect: corev1.TaintEffectPreferNoSchedule},
			},
			KubeletExtraArgs: []bootstrapv1.Arg{{Name: "v", Value: "2"}, {Name: "max-pods", Value: "200"}},
		},
		ControlPlane: bootstrapv1.ControlPlaneSettings{
			VIP:             bootstrapv1.ControlPlaneVIP{VirtualRouterID: 51, Interface: "eth0"},
			ImageRepository: "ingot.local",
			KeyAlgorithm:    "ECDSA-P256",
			SkipPhases:      []string{"preflight", "addon/kube-proxy"},
			CertSANs:        []string{"api.example.com", "*.api.example.com", "203.0.113.7", "2001:db8::7"},
			APIServer: bootstrapv1.ComponentSettings{
				ExtraArgs:  []bootstrapv1.Arg{{Name: "profiling", Value: "false"}, {Name: "v", Value: "1"}},
				ExtraEnvs:  []bootstrapv1.EnvVar{{Name: "GOGC", Value: "off"}, {Name: "GOMEMLIMIT", Value: "1000MiB"}},
				CPURequest: "1000m",
			},
			ControllerManager: bootstrapv1.ComponentSettings{
				ExtraArgs:  []bootstrapv1.Arg{{Name: "leader-elect", Value: "false"}},
				ExtraEnvs:  []bootstrapv1.EnvVar{{Name: "GOMEMLIMIT", Value: "400MiB"}},
				CPURequest: "10m",
			},
			Scheduler: bootstrapv1.ComponentSettings{
				ExtraArgs:  []bootstrapv1.Arg{{Name: "leader-elect", Value: "false"}},
				ExtraEnvs:  []bootstrapv1.EnvVar{{Name: "GOMEMLIMIT", Value: "300MiB"}},
				CPURequest: "10m",
			},
			Etcd: bootstrapv1.ComponentSettings{
				ExtraArgs:  []bootstrapv1.Arg{{Name: "unsafe-no-fsync", Value: "true"}},
				ExtraEnvs:  []bootstrapv1.EnvVar{{Name: "GOGC", Value: "400"}},
				CPURequest: "500m",
			},
		},
	}
	return in
}
