// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package components

import "strings"

// Versions of the upstream modules. Each equals the version in hack/components/<group>/go.mod; a test compares them.
const (
	KubernetesVersion = "v1.36.3"
	// NextKubernetesVersion is a later patch of the same minor version: what a cluster is upgraded to.
	NextKubernetesVersion = "v1.36.4"

	EtcdVersion       = "v3.6.8"
	ClusterAPIVersion = "v1.14.2"
	ContainerdVersion = "v2.2.9"
	CNIVersion        = "v1.9.1"
	CoreDNSVersion    = "v1.14.2"
	FlannelVersion    = "v0.26.7"
	IgnitionVersion   = "v2.24.0"
)

// buildDate is stamped into programs that report one. It is fixed, so that the same inputs give the same bytes.
const buildDate = "1970-01-01T00:00:00Z"

// group is one upstream module: everything in it is built with the same flags and shares compiled packages.
type group struct {
	// dir is the folder below hack/components that pins the module and its dependencies.
	dir string
	// module is the upstream module whose version a person means when naming a program of this group.
	module string
	// version is the pinned version of module.
	version string
	// tags are Go build tags.
	tags []string
	// cgo switches cgo on; the group then also needs a C compiler.
	cgo bool
	// ldflags follow "-s -w".
	ldflags []string
	// minutes is about how long a cold build takes on two cores; it is only shown.
	minutes int
	// programs maps the name of a binary to its main package.
	programs map[string]string
}

// KubernetesVersions are the versions of Kubernetes that can be built, oldest first.
func KubernetesVersions() []string { return []string{KubernetesVersion, NextKubernetesVersion} }

// kubernetes is a version of Kubernetes, pinned by a folder.
func kubernetes(dir, version string) group {
	return group{
		dir: dir, module: "k8s.io/kubernetes", version: version, minutes: 6,
		ldflags: append(
			kubeStamps("k8s.io/component-base/version", version),
			kubeStamps("k8s.io/client-go/pkg/version", version)...),
		programs: map[string]string{
			"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
			"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
			"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
			"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
			"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
			"kubeadm":                 "k8s.io/kubernetes/cmd/kubeadm",
			"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
		},
	}
}

// groups is the table of everything that can be built, with one version of Kubernetes.
func groups(kubernetesVersion string) []group {
	kube := kubernetes("kubernetes", KubernetesVersion)
	if kubernetesVersion == NextKubernetesVersion {
		kube = kubernetes("kubernetes-next", NextKubernetesVersion)
	}
	return []group{
		kube,
		{
			dir: "etcd", module: "go.etcd.io/etcd/server/v3", version: EtcdVersion, minutes: 1,
			programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
		},
		{
			dir: "containerd", module: "github.com/containerd/containerd/v2", version: ContainerdVersion, minutes: 2,
			tags:    []string{"no_btrfs", "no_zfs", "no_devmapper", "no_aufs"},
			ldflags: []string{"-X github.com/containerd/containerd/v2/version.Version=" + ContainerdVersion},
			programs: map[string]string{
				"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
				"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
				"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
			},
		},
		{
			dir: "cni", module: "github.com/containernetworking/plugins", version: CNIVersion, minutes: 1,
			ldflags: []string{"-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=" + CNIVersion},
			programs: map[string]string{
				"bridge":     "github.com/containernetworking/plugins/plugins/main/bridge",
				"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
				"loopback":   "github.com/containernetworking/plugins/plugins/main/loopback",
				"portmap":    "github.com/containernetworking/plugins/plugins/meta/portmap",
			},
		},
		{
			dir: "coredns", module: "github.com/coredns/coredns", version: CoreDNSVersion, minutes: 2,
			programs: map[string]string{"coredns": "github.com/coredns/coredns"},
		},
		{
			dir: "flannel", module: "github.com/flannel-io/flannel", version: FlannelVersion, minutes: 1, cgo: true,
			ldflags: []string{
				"-X github.com/flannel-io/flannel/pkg/version.Version=" + FlannelVersion,
				"-linkmode external", "-extldflags -static",
			},
			programs: map[string]string{"flanneld": "github.com/flannel-io/flannel"},
		},
		{
			dir: "ignition", module: "github.com/coreos/ignition/v2", version: IgnitionVersion, minutes: 3, cgo: true,
			ldflags: []string{
				"-X github.com/coreos/ignition/v2/internal/version.Raw=" + IgnitionVersion,
				"-X github.com/coreos/ignition/v2/internal/distro.selinuxRelabel=false",
			},
			programs: map[string]string{"ignition": "github.com/coreos/ignition/v2/internal"},
		},
		{
			dir: "cluster-api", module: "sigs.k8s.io/cluster-api", version: ClusterAPIVersion, minutes: 3,
			ldflags:  kubeStamps("sigs.k8s.io/cluster-api/version", ClusterAPIVersion),
			programs: map[string]string{"cluster-api-core": "sigs.k8s.io/cluster-api/core"},
		},
	}
}

// kubeStamps are the linker flags that give a program which follows the Kubernetes convention its version. Without
// them it reports v0.0.0, and version checks between components fail.
func kubeStamps(pkg, version string) []string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	stamps := []string{
		"gitMajor=" + major,
		"gitMinor=" + minor,
		"gitVersion=" + version,
		"gitCommit=unknown",
		"gitTreeState=clean",
		"buildDate=" + buildDate,
	}
	flags := make([]string, 0, len(stamps))
	for _, s := range stamps {
		flags = append(flags, "-X "+pkg+"."+s)
	}
	return flags
}

// groupOf finds the group that builds the named program.
func groupOf(name, kubernetesVersion string) (group, bool) {
	for _, g := range groups(kubernetesVersion) {
		if _, ok := g.programs[name]; ok {
			return g, true
		}
	}
	return group{}, false
}
