// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
)

// contracts are the releases whose documents can be written.
func contracts() []bootstrapv1.TalosContract {
	return []bootstrapv1.TalosContract{"1.12", "1.13", "1.14"}
}

func suite(contract bootstrapv1.TalosContract) osfamilytest.Suite {
	s := osfamilytest.Suite{
		Family:   talos.New(),
		Format:   ingotv1.BootstrapFormatTalos,
		Select:   func(spec *bootstrapv1.IngotConfigSpec) { spec.Talos = &bootstrapv1.TalosConfig{Contract: contract} },
		Validate: talos.Validate,
		Readable: func(data []byte) (string, error) { return "\n" + string(data), nil },
		Refuses:  refused(),
		Support:  talos.Support(),
		Testdata: "testdata/" + string(contract),
	}
	s.Own = ownCases(s.Select)
	return s
}

// refused are what is for kubeadm, and what a machine of Talos would have to fetch.
func refused() map[string]string {
	const timeout, restore = "spec.joinTimeoutSeconds", "spec.restoreFrom"
	return map[string]string{
		"init-full": timeout, "control-plane-full": timeout, "worker-full": timeout,
		"init-restore": restore, "init-restore-own-authority": restore,
		"init-vip-default-interface": "spec.controlPlane.vip.interface",
		"worker-identity-report":     "spec.node.identityReport",
	}
}

// everyOption is what is left of the portable options when those of kubeadm are taken out.
func everyOption(selectFamily func(*bootstrapv1.IngotConfigSpec)) func(*bootstrapv1.IngotConfigSpec) {
	return func(spec *bootstrapv1.IngotConfigSpec) {
		selectFamily(spec)
		spec.JoinTimeoutSeconds = nil
		c := &spec.ControlPlane
		c.ImageRepository, c.SkipPhases, c.Etcd.CPURequest, c.Etcd.ExtraEnvs = "", nil, "", nil
	}
}

func ownCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, in osfamily.Input, change func(*osfamily.Input)) {
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	worker := func() osfamily.Input { return osfamilytest.Worker(selectFamily) }
	controlPlane := func() osfamily.Input { return osfamilytest.Node(bootstrapv1.RoleControlPlane, selectFamily) }
	every := everyOption(selectFamily)
	add("init-every-option", "every portable option that Talos has, on the first node", "", osfamilytest.FullNode(bootstrapv1.RoleInit, every), func(*osfamily.Input) {})
	add("worker-every-option", "every portable option that Talos has, on a worker", "", osfamilytest.FullWorker(every), func(*osfamily.Input) {})
	add("init-other-port", "the API server listens where the endpoint is", "", controlPlane(), func(in *osfamily.Input) { in.Cluster.EndpointPort = 443 })
	add("control-plane-taints", "who lists the default taint keeps it, and may add others", "", controlPlane(), func(in *osfamily.Input) {
		in.Config.Node.Taints = &[]corev1.Taint{
			{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule},
			{Key: "example.com/scarce", Value: "yes", Effect: corev1.TaintEffectNoExecute},
		}
	})
	add("init-ipv6", "a cluster that speaks IPv6", "", osfamilytest.Node(bootstrapv1.RoleInit, selectFamily), func(in *osfamily.Input) {
		in.Cluster.EndpointHost = "2001:db8::10"
		in.Cluster.PodCIDRs, in.Cluster.ServiceCIDRs = []string{"fd00:10:244::/56"}, []string{"fd00:10:96::/112"}
	})
	add("worker-defaults", "without networks from the Cluster Talos' defaults count", "", worker(), func(in *osfamily.Input) {
		in.Cluster.PodCIDRs, in.Cluster.ServiceCIDRs, in.Cluster.ServiceDomain = nil, nil, ""
	})
	patches(add, worker, controlPlane)

	add("no secrets of Talos", "", "talos", worker(), func(in *osfamily.Input) { in.Talos = nil })
	add("a control plane without the key of Talos' API", "", "talos", controlPlane(), func(in *osfamily.Input) {
		secrets := in.Talos.ForWorker()
		in.Talos = &secrets
	})
	add("no authority", "", "join.caCert", worker(), func(in *osfamily.Input) { in.Join.CACert = nil })
	add("an authority that Talos cannot read", "", "certificates.etcd", controlPlane(), func(in *osfamily.Input) { in.Certificates.EtcdCA.Key = []byte("rubbish") })
	add("a kubelet flag of Talos", "", "spec.node.kubeletExtraArgs[0]", worker(), func(in *osfamily.Input) {
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "cert-dir", Value: "/tmp"}}
	})
	add("a kubelet flag that is listed twice", "", "spec.node.kubeletExtraArgs[1]", worker(), func(in *osfamily.Input) {
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "v", Value: "1"}, {Name: "v", Value: "2"}}
	})
	add("phases of kubeadm", "", "spec.controlPlane.skipPhases", controlPlane(), func(in *osfamily.Input) { in.Config.ControlPlane.SkipPhases = []string{"preflight"} })
	add("one repository for all images", "", "spec.controlPlane.imageRepository", controlPlane(), func(in *osfamily.Input) { in.Config.ControlPlane.ImageRepository = "a" })
	add("etcd as a Pod", "", "spec.controlPlane.etcd", controlPlane(), func(in *osfamily.Input) { in.Config.ControlPlane.Etcd.CPURequest = "1" })
	add("a Kubernetes that it does not run", "", "Machine.spec.version", worker(), func(in *osfamily.Input) { in.Cluster.KubernetesVersion = "v1.40.0" })
	add("two logins for one host", "", "spec.registries[0].mirrors[1].credentials", worker(), func(in *osfamily.Input) {
		login := func(user string) bootstrapv1.RegistryCredentials {
			return bootstrapv1.RegistryCredentials{Username: user, PasswordFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "registry", Key: "password"}}}
		}
		in.Secrets = osfamily.Secrets{"registry": {"password": []byte("hidden")}}
		in.Config.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{
			{URL: "https://mirror.example.com/a", Credentials: login("a")}, {URL: "https://mirror.example.com/b", Credentials: login("b")},
		}}}
	})
	return cases
}

// patches are cases of the escape hatch that fit every release.
func patches(add func(name, why, path string, in osfamily.Input, change func(*osfamily.Input)), worker, controlPlane func() osfamily.Input) {
	const machinePatch = "machine:\n  udev:\n    rules:\n      - SUBSYSTEM==\"drm\", MODE=\"0660\"\n"
	const documentPatch = "apiVersion: v1alpha1\nkind: LinkConfig\nname: eth0\nmtu: 9000\n---\napiVersion: v1alpha1\nkind: WatchdogTimerConfig\ndevice: /dev/watchdog0\ntimeout: 2m\n"
	add("worker-patches", "patches of several documents, one after another", "", worker(), func(in *osfamily.Input) {
		in.Config.Talos.Patches = []string{machinePatch, documentPatch}
	})
	add("control-plane-patches", "the same on a control plane, and one that turns something off", "", controlPlane(), func(in *osfamily.Input) {
		in.Config.Talos.Patches = []string{documentPatch, "machine:\n  features:\n    diskQuotaSupport: false\n"}
	})
}

func TestConformance(t *testing.T) {
	for _, contract := range contracts() {
		t.Run(string(contract), func(t *testing.T) { osfamilytest.Run(t, suite(contract)) })
	}
}
