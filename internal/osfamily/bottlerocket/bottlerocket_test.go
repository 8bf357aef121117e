// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket_test

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

const (
	settingsPath = "spec.bottlerocket.settings"
	digest       = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// releases are those whose settings are known.
func releases() []bootstrapv1.BottlerocketRelease {
	return []bootstrapv1.BottlerocketRelease{"1.50", "1.51", "1.52", "1.53", "1.54", "1.55", "1.56", "1.57"}
}

func suite(release bootstrapv1.BottlerocketRelease) osfamilytest.Suite {
	s := osfamilytest.Suite{
		Family: bottlerocket.New(),
		Format: ingotv1.BootstrapFormatBottlerocket,
		Select: func(spec *bootstrapv1.IngotConfigSpec) {
			spec.Bottlerocket = &bootstrapv1.BottlerocketConfig{Release: release}
		},
		Validate:      func(data []byte) error { return bottlerocket.Validate(data, release) },
		Readable:      func(data []byte) (string, error) { return "\n" + string(data), nil },
		SelfUpdateOff: selfUpdateOff,
		Refuses:       refused(),
		Support:       bottlerocket.Support(),
		Testdata:      "testdata",
	}
	s.Own = ownCases(s.Select)
	return s
}

// refused are the control planes, and the timeout of a kubeadm that does not run.
func refused() map[string]string {
	const role = "spec.role"
	return map[string]string{
		"init": role, "init-full": role, "init-no-taints": role, "init-vip-default-interface": role, "init-restore": role,
		"init-restore-own-authority": role, "init-defaults-of-kubeadm": role, "control-plane": role, "control-plane-full": role,
		"worker-full": "spec.joinTimeoutSeconds",
		// Its mirrors have no path; those of the suite have.
		"setting-registry-mirrors": mirrorURL, "setting-registry-any": mirrorURL, "setting-registry-mirror-credentials": mirrorURL,
	}
}

const mirrorURL = "spec.registries[0].mirrors[0].url"

func ownCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, in osfamily.Input, change func(*osfamily.Input)) {
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	worker := func() osfamily.Input { return osfamilytest.Worker(selectFamily) }
	full := func() osfamily.Input {
		return osfamilytest.FullWorker(func(spec *bootstrapv1.IngotConfigSpec) {
			selectFamily(spec)
			spec.JoinTimeoutSeconds = nil
		})
	}
	args := func(pairs ...string) func(*osfamily.Input) {
		return func(in *osfamily.Input) {
			in.Config.Node.KubeletExtraArgs = nil
			for i := 0; i < len(pairs); i += 2 {
				in.Config.Node.KubeletExtraArgs = append(in.Config.Node.KubeletExtraArgs, bootstrapv1.Arg{Name: pairs[i], Value: pairs[i+1]})
			}
		}
	}
	add("worker-every-option", "every portable option that Bottlerocket has", "", full(), func(*osfamily.Input) {})
	add("worker-settings", "settings of the user join those of Ingot", "", full(), func(in *osfamily.Input) {
		in.Config.Bottlerocket.Settings = everySetting
	})
	add("worker-settings-self-update-allowed", "who lets the operating system update itself may say how", "", worker(), func(in *osfamily.Input) {
		in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		in.Config.Bottlerocket.Settings = selfUpdating
	})
	add("worker-kubelet-flags", "flags that have a setting are translated", "", worker(), args(
		"allowed-unsafe-sysctls", "net.core.somaxconn,net.ipv4.ip_forward", "cloud-provider", "external", "cluster-dns", "10.96.0.20,169.254.20.10",
		"container-log-max-files", "3", "container-log-max-size", "20Mi", "cpu-cfs-quota", "false", "cpu-manager-policy", "static",
		"cpu-manager-reconcile-period", "15s", "event-burst", "20", "event-qps", "10", "image-gc-high-threshold", "80", "image-gc-low-threshold", "70",
		"kube-api-burst", "60", "kube-api-qps", "40", "max-pods", "50", "memory-manager-policy", "None", "node-ip", "192.0.2.30", "pod-max-pids", "4096",
		"registry-burst", "20", "registry-qps", "10", "reserved-cpus", "0-1", "seccomp-default", "true", "topology-manager-policy", "best-effort",
		"topology-manager-scope", "pod", "v", "3"))
	add("worker-two-stacks", "the DNS of the cluster is in the first range of Services", "", worker(), func(in *osfamily.Input) {
		in.Cluster.ServiceCIDRs = []string{"fd00:10:96::/112", "10.96.0.0/12"}
	})
	add("worker-defaults-of-kubeadm", "without networks from the Cluster kubeadm's defaults count", "", worker(), func(in *osfamily.Input) {
		in.Cluster.ServiceCIDRs, in.Cluster.ServiceDomain = nil, ""
	})

	cases = append(cases, portableCases(selectFamily)...)
	flags := "spec.node.kubeletExtraArgs[0]"
	add("a kubelet flag without a setting", "", flags, worker(), args("feature-gates", "A=true"))
	add("a number that is none", "", flags, worker(), args("max-pods", "many"))
	add("a number that is too large", "", flags, worker(), args("v", "256"))
	add("a number that is too small", "", flags, worker(), args("max-pods", "-1"))
	add("a truth that is none", "", flags, worker(), args("cpu-cfs-quota", "yes"))
	add("a flag that is said twice", "", "spec.node.kubeletExtraArgs[1]", worker(), args("max-pods", "1", "max-pods", "2"))
	add("a flag that a setting says as well", "", flags, worker(), func(in *osfamily.Input) {
		args("max-pods", "1")(in)
		in.Config.Bottlerocket.Settings = "[settings.kubernetes]\nmax-pods = 1\n"
	})
	add("a policy that the host does not know", "", "spec.node.kubeletExtraArgs", worker(), args("cpu-manager-policy", "dynamic"))
	add("a DNS server that is no address", "", "spec.node.kubeletExtraArgs", worker(), args("cluster-dns", "10.96.0.10,dns"))
	add("a range that holds no address for DNS", "", "Cluster.spec.clusterNetwork.services.cidrBlocks", worker(), func(in *osfamily.Input) {
		in.Cluster.ServiceCIDRs = []string{"10.96.0.0/29"}
	})
	add("no authority", "", "join.caCert", worker(), func(in *osfamily.Input) { in.Join.CACert = nil })
	add("an authority that is none", "", "join.caCert", worker(), func(in *osfamily.Input) { in.Join.CACert = []byte("rubbish") })
	add("a release that nobody knows", "", "spec.bottlerocket.release", worker(), func(in *osfamily.Input) { in.Config.Bottlerocket.Release = "1.9" })
	add("a release to come", "", "spec.bottlerocket.release", worker(), func(in *osfamily.Input) { in.Config.Bottlerocket.Release = "1.58" })
	return cases
}

// portableCases are what the suite cannot know: what Bottlerocket takes of mirrors, and where the user's own settings meet the
// portable ones.
func portableCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, change func(*osfamily.Input)) {
		in := osfamilytest.Worker(selectFamily)
		in.Secrets = osfamily.Secrets{"registry": {"password": []byte("correct horse")}}
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	login := func(user string) bootstrapv1.RegistryCredentials {
		return bootstrapv1.RegistryCredentials{
			Username: user, PasswordFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "registry", Key: "password"}},
		}
	}
	add("worker-registries", "mirrors in their order, one for all that have none, and who pulls", "", func(in *osfamily.Input) {
		in.Config.Registries = []bootstrapv1.Registry{
			{Host: "docker.io", Credentials: login("hub"), Mirrors: []bootstrapv1.RegistryMirror{
				{URL: "https://mirror.example.com", Credentials: login("robot")}, {URL: "http://192.0.2.20:5000"},
			}},
			{Host: "quay.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com", Credentials: login("robot")}}},
			{Host: "*", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://any.example.com"}}},
		}
	})
	add("worker-awkward-password", "the host writes passwords between quotes as they are, so one with a quote is said in base64", "", func(in *osfamily.Input) {
		in.Secrets = osfamily.Secrets{"registry": {"password": []byte(`correct "horse" \ battery`)}}
		in.Config.Registries = []bootstrapv1.Registry{{Host: "registry.example.com", Credentials: login("robot")}}
	})
	add("worker-values", "values that the host takes as the kubelet does", "", func(in *osfamily.Input) {
		in.Config.Node.Kubelet.EvictionHard = map[string]string{"memory.available": "1.5Gi", "nodefs.available": "99.9%", "imagefs.available": "129e6"}
		in.Config.Node.Kubelet.SystemReserved = map[string]string{"cpu": "250m", "memory": ".5Gi"}
	})
	kubelet := func(why, path string, change func(*bootstrapv1.KubeletSettings)) {
		add(why, "", path, func(in *osfamily.Input) { change(&in.Config.Node.Kubelet) })
	}
	kubelet("a threshold of all, which the host does not take", "spec.node.kubelet.evictionHard[nodefs.available]", func(k *bootstrapv1.KubeletSettings) {
		k.EvictionHard = map[string]string{"nodefs.available": "100%"}
	})
	kubelet("a percentage in other digits", "spec.node.kubelet.evictionHard[nodefs.available]", func(k *bootstrapv1.KubeletSettings) {
		k.EvictionHard = map[string]string{"nodefs.available": "0x1p3%"}
	})
	kubelet("a quantity with an exponent that the host does not take", "spec.node.kubelet.systemReserved[memory]", func(k *bootstrapv1.KubeletSettings) {
		k.SystemReserved = map[string]string{"memory": "1E9"}
	})
	kubelet("another such quantity", "spec.node.kubelet.kubeReserved[ephemeral-storage]", func(k *bootstrapv1.KubeletSettings) {
		k.KubeReserved = map[string]string{"ephemeral-storage": "1e+9"}
	})
	add("a time server by an IPv6 address, which the host takes for no address", "", "spec.ntp.servers[1]", func(in *osfamily.Input) {
		in.Config.NTP.Servers = []string{"192.0.2.123", "2001:db8::123"}
	})
	add("worker-portable-and-settings", "portable settings join those of the user in the same groups", "", func(in *osfamily.Input) {
		in.Config.Sysctls = map[string]bootstrapv1.SysctlValue{"vm.max_map_count": "262144"}
		in.Config.KernelModules = []bootstrapv1.KernelModule{{Name: "nvme_tcp"}}
		in.Config.AdditionalTrustBundle = osfamily.PlaceholderAuthority
		in.Config.Proxy = bootstrapv1.ProxySettings{HTTPSProxy: "http://proxy.example.com:3128", NoProxy: []string{".example.com"}}
		in.Config.Bottlerocket.Settings = "[settings.kernel.modules.sctp]\nallowed = false\n[settings.kernel.sysctl]\n\"vm.swappiness\" = \"1\"\n" +
			"[settings.network]\nhosts = [[\"192.0.2.20\", [\"mirror\"]]]\n[settings.pki.other]\ndata = \"aGVsbG8=\"\ntrusted = true\n"
	})
	twice := func(name, path, settings string, change func(*bootstrapv1.IngotConfigSpec)) {
		add(name+" that the settings say as well", "", path, func(in *osfamily.Input) {
			change(&in.Config)
			in.Config.Bottlerocket.Settings = settings
		})
	}
	twice("a number of Pods", "spec.node.kubelet.maxPods", "[settings.kubernetes]\nmax-pods = 1\n", func(c *bootstrapv1.IngotConfigSpec) { c.Node.Kubelet.MaxPods = new(int32(2)) })
	twice("time servers", "spec.ntp.servers", "[settings.ntp]\ntime-servers = [\"a\"]\n", func(c *bootstrapv1.IngotConfigSpec) { c.NTP.Servers = []string{"b"} })
	twice("a proxy", "spec.proxy.httpsProxy", "[settings.network]\nno-proxy = [\"a\"]\n", func(c *bootstrapv1.IngotConfigSpec) { c.Proxy.HTTPSProxy = "http://proxy.example.com:3128" })
	twice("a sysctl", "spec.sysctls[vm.swappiness]", "[settings.kernel.sysctl]\n\"vm.swappiness\" = \"1\"\n",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Sysctls = map[string]bootstrapv1.SysctlValue{"vm.swappiness": "2"}
		})
	twice("a module", "spec.kernelModules[0]", "[settings.kernel.modules.sctp]\nallowed = false\n",
		func(c *bootstrapv1.IngotConfigSpec) { c.KernelModules = []bootstrapv1.KernelModule{{Name: "sctp"}} })
	twice("mirrors", "spec.registries", "[[settings.container-registry.mirrors]]\nregistry = \"*\"\nendpoint = [\"https://a.example.com\"]\n",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Registries = []bootstrapv1.Registry{{Host: "quay.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://b.example.com"}}}}
		})
	add("a sysctl with slashes", "", "spec.sysctls[net/ipv4/conf/eth0.1/rp_filter]", func(in *osfamily.Input) {
		in.Config.Sysctls = map[string]bootstrapv1.SysctlValue{"net/ipv4/conf/eth0.1/rp_filter": "1"}
	})
	add("a signal that Bottlerocket does not know", "", "spec.node.kubelet.evictionHard[containerfs.available]", func(in *osfamily.Input) {
		in.Config.Node.Kubelet.EvictionHard = map[string]string{"containerfs.available": "5%"}
	})
	add("two who pull from one server", "", "spec.registries[1].mirrors[0].credentials", func(in *osfamily.Input) {
		in.Config.Registries = []bootstrapv1.Registry{
			{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com", Credentials: login("a")}}},
			{Host: "quay.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com", Credentials: login("b")}}},
		}
	})
	return cases
}

func TestConformance(t *testing.T) {
	for _, release := range releases() {
		t.Run(string(release), func(t *testing.T) { osfamilytest.Run(t, suite(release)) })
	}
}

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite("1.50")) }

func FuzzSettings(f *testing.F) {
	osfamilytest.FuzzText(f, suite("1.57"), func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Bottlerocket.Settings = text },
		everySetting, selfUpdating, "[settings.network]\nhosts = [[1], [\"192.0.2.1\", 2], [\"192.0.2.1\", [3]]]\n", "settings = 1979-05-27T07:32:00Z\n")
}

func BenchmarkRender(b *testing.B) { osfamilytest.Benchmark(b, suite("1.57")) }

// selfUpdateOff asks for what updog and people look at.
func selfUpdateOff(data []byte) bool {
	var doc struct {
		Settings struct {
			Updates struct {
				VersionLock string `toml:"version-lock"`
				IgnoreWaves *bool  `toml:"ignore-waves"`
			} `toml:"updates"`
			HostContainers map[string]struct {
				Enabled *bool `toml:"enabled"`
			} `toml:"host-containers"`
		} `toml:"settings"`
	}
	if err := toml.Unmarshal(data, &doc); err != nil {
		return false
	}
	off := func(value *bool) bool { return value != nil && !*value }
	s := doc.Settings
	return s.Updates.VersionLock == "0.0.0" && off(s.Updates.IgnoreWaves) && off(s.HostContainers["admin"].Enabled) && off(s.HostContainers["control"].Enabled)
}

// Each of these would stop the host at boot, hand a secret to everybody, or let the node change behind its image's back.
func TestSettingsAreRefused(t *testing.T) {
	for _, tc := range []struct{ why, settings, want string }{
		{"what is no TOML", "[settings", "line 1, column"},
		{"a key twice", "[settings.ntp]\n[settings.ntp]\n", "ntp"},
		{"a group of other images", "[settings.ecs]\ncluster = \"a\"\n", "settings.ecs: the images for vSphere have no such setting"},
		{"a slip of the pen", "[settings.kubernetes]\nmaxpods = 1\n", "settings.kubernetes.maxpods: the images"},
		{"what is not below settings", "[kubernetes]\nmax-pods = 1\n", "kubernetes: the images"},
		{"another type", "[settings.kubernetes]\nmax-pods = \"1\"\n", "line 2, column 12"},
		{"a number that is too small", "[settings.kubernetes]\nmax-pods = -1\n", "does not fit"},
		{"a value that the host does not know", "[settings.kernel]\nlockdown = \"half\"\n", `settings.kernel.lockdown is "half" and must be one of none, integrity, confidentiality`},
		{"a bundle that is no base64", "[settings.pki.a]\ndata = \"-----BEGIN\"\n", "settings.pki.a.data is not base64"},
		{"a percentage above all", "[settings.kubernetes]\nimage-gc-high-threshold-percent = 101\n", "between 0 and 100"},
		{"a threshold of all", "[settings.kubernetes.eviction-soft]\n\"memory.available\" = \"100%\"\n", `settings.kubernetes.eviction-soft.memory.available is "100%", which`},
		{"a time without a unit", "[settings.kubernetes.eviction-soft-grace-period]\n\"memory.available\" = \"30\"\n", "does not take for a duration"},
		{"a time in the wrong order", "[settings.kubernetes]\nshutdown-grace-period = \"1s2m\"\n", "does not take for a duration"},
		{"a size that is none", "[settings.kubernetes]\ncontainer-log-max-size = \"10MB\"\n", "does not take for a quantity"},
		{"a time that is negative", "[settings.kubernetes]\neviction-max-pod-grace-period = -1\n", "must not be negative"},
		{"a time server by an IPv6 address", "[settings.ntp]\ntime-servers = [\"fd00::1\"]\n", `settings.ntp.time-servers[0] is "fd00::1", which`},
		{"a signal that the kubelet does not know", "[settings.kubernetes.eviction-hard]\n\"disk.available\" = \"1%\"\n", `has the key "disk.available"`},
		{"a host that is no address", "[settings.network]\nhosts = [[\"a\", [\"b\"]]]\n", `settings.network.hosts[0] "a" is not an IP address`},
		{"a host without names", "[settings.network]\nhosts = [[\"192.0.2.1\"]]\n", "must be an address and a list of names"},

		{"the address of the API server", "[settings.kubernetes]\napi-server = \"https://192.0.2.66\"\n", "settings.kubernetes.api-server is the Cluster's control plane endpoint"},
		{"another authority", "[settings.kubernetes]\ncluster-certificate = \"YQ==\"\n", "settings.kubernetes.cluster-certificate is"},
		{"labels in another place", "[settings.kubernetes.node-labels]\na = \"b\"\n", "settings.kubernetes.node-labels is set by Ingot: use spec.node.labels"},
		{"taints in another place", "[settings.kubernetes.node-taints]\na = [\"b:NoSchedule\"]\n", "use spec.node.taints"},
		{"a machine outside its cluster", "[settings.kubernetes]\nstandalone-mode = true\n", "settings.kubernetes.standalone-mode would"},
		{"another name", "[settings.network]\nhostname = \"other\"\n", "settings.network.hostname is the name of the Machine"},
		{"keys with dots", "settings.kubernetes.provider-id = \"other://1\"\n", "settings.kubernetes.provider-id is set by Ingot"},
		{"keys in an inline table", "settings = {kubernetes = {bootstrap-token = \"abcdef.0123456789abcdef\"}}\n", "settings.kubernetes.bootstrap-token is lent by Ingot"},

		{"a key of the kubelet's server", "[settings.kubernetes]\nserver-key = \"YQ==\"\n", "settings.kubernetes.server-key holds a secret"},
		{"credentials of a registry", "[[settings.container-registry.credentials]]\nregistry = \"a\"\nauth = \"YQ==\"\n", "settings.container-registry.credentials holds a secret"},
		{"credentials of a cloud", "[settings.aws]\ncredentials = \"YQ==\"\n", "settings.aws.credentials holds a secret"},

		{"another version lock", "[settings.updates]\nversion-lock = \"latest\"\n", "settings.updates would let the operating system update itself; if it is meant to, set spec.selfUpdate: Allowed"},
		{"waves that are ignored", "[settings.updates]\nignore-waves = true\n", "settings.updates would"},
		{"another source of updates", "[settings.updates]\nmetadata-base-url = \"https://updates.example.com\"\n", "settings.updates would"},
		{"a container to log in", "[settings.host-containers.admin]\nenabled = true\n", "settings.host-containers starts a container"},
		{"a container that can change", "[settings.bootstrap-containers.a]\nsource = \"registry.example.com/a:latest\"\n", "settings.bootstrap-containers.a.source names no digest"},
		{"an update at boot", "[settings.bootstrap-commands.a]\ncommands = [[\"apiclient\", \"update\", \"apply\"]]\n", "settings.bootstrap-commands.a.commands[0] may change"},
		{"a setting at boot", "[settings.bootstrap-commands.a]\ncommands = [[\"apiclient\", \"report\", \"cis\"], [\"apiclient\", \"set\", \"motd=a\"]]\n", "commands[1] may change"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			in := osfamilytest.Worker(suite("1.57").Select)
			in.Config.Bottlerocket.Settings = tc.settings
			bundle, report := bottlerocket.New().Render(in)
			if len(bundle.Data) > 0 {
				t.Error("there is a bundle all the same")
			}
			found := false
			for _, finding := range report {
				found = found || finding.Path == settingsPath && strings.Contains(finding.Message, tc.want)
			}
			if !found {
				t.Errorf("report %q, want a finding at %s that says %q", report, settingsPath, tc.want)
			}
		})
	}
}

// A setting that came with a release stops a host of an older one.
func TestSettingsOfARelease(t *testing.T) {
	for _, release := range releases() {
		in := osfamilytest.Worker(suite(release).Select)
		in.Config.Bottlerocket.Settings = "[settings.kubernetes]\nimage-minimum-gc-age = \"5m\"\nmax-parallel-image-pulls = 3\n"
		bundle, report := bottlerocket.New().Render(in)
		if refused := report.Err() != nil; refused != (release == "1.50") {
			t.Errorf("release %s: refused %t: %v", release, refused, report.Err())
		}
		if release != "1.50" {
			if err := bottlerocket.Validate(bundle.Data, "1.50"); err == nil {
				t.Errorf("release %s: 1.50 is said to know what came after it", release)
			}
		}
	}
}

// everySetting has something of every group that the user may set, all of it known since the oldest release.
const everySetting = `
[settings]
motd = "Nodes are cast, not patched."

[settings.aws]
config = "W2RlZmF1bHRdCg=="
profile = "default"
region = "eu-central-1"

[settings.boot]
reboot-to-reconcile = true
[settings.boot.kernel-parameters]
"console" = ["tty0", "ttyS0,115200n8"]
[settings.boot.init-parameters]
"log_level" = ["debug"]

[settings.bootstrap-commands.disks]
commands = [["apiclient", "ephemeral-storage", "init"]]
essential = true
mode = "always"

[settings.bootstrap-containers.prepare]
source = "registry.example.com/prepare` + digest + `"
mode = "once"
essential = true
user-data = "aGVsbG8="

[[settings.container-registry.mirrors]]
registry = "docker.io"
endpoint = ["https://mirror.example.com"]

[settings.container-runtime]
max-concurrent-downloads = 5
snapshotter = "overlayfs"

[settings.dns]
name-servers = ["192.0.2.53"]
search-list = ["example.com"]

[settings.kernel]
lockdown = "integrity"
[settings.kernel.modules.sctp]
allowed = false
[settings.kernel.sysctl]
"net.ipv4.ip_local_port_range" = "1024 65000"

[settings.kubernetes]
pod-pids-limit = 4096
image-gc-high-threshold-percent = 80
cpu-manager-policy = "static"
[settings.kubernetes.eviction-hard]
"memory.available" = "5%"
[settings.kubernetes.kube-reserved]
cpu = "100m"
pid = "1000"
[settings.kubernetes.static-pods.probe]
enabled = true
manifest = "YXBpVmVyc2lvbjogdjEK"
[settings.kubernetes.credential-providers.ecr-credential-provider]
enabled = true
image-patterns = ["*.example.com"]
[settings.kubernetes.memory-manager-reserved-memory.0]
enabled = true
memory = "674Mi"

[settings.metrics]
send-metrics = false

[settings.network]
hosts = [["192.0.2.20", ["mirror.example.com", "mirror"]]]
https-proxy = "192.0.2.9:3128"
no-proxy = ["localhost"]

[settings.ntp]
time-servers = ["ntp.example.com"]

[settings.oci-defaults.capabilities]
mknod = false
[settings.oci-defaults.resource-limits.max-open-files]
soft-limit = 1024
hard-limit = 65536

[settings.pki.example]
data = "aGVsbG8="
trusted = true
`

// selfUpdating is what a config may say whose operating system may update itself.
const selfUpdating = `
[settings.updates]
version-lock = "latest"
ignore-waves = true
metadata-base-url = "https://updates.example.com/"

[settings.host-containers.admin]
enabled = true
superpowered = true
user-data = "e30="

[settings.bootstrap-containers.prepare]
source = "registry.example.com/prepare:v1"

[settings.bootstrap-commands.motd]
commands = [["apiclient", "set", "motd=hello"]]
mode = "once"
`
