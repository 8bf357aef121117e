// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// What the cases refer to.
const (
	samplePassword = secretMark + "-password"
	sampleToken    = secretMark + " token of an agent\n"
	mirrorURL      = "https://mirror.example.com"
	sampleUnit     = "[Unit]\nDescription=Say hello\n[Service]\nType=oneshot\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n"
	sampleDropin   = "[Service]\nLimitNOFILE=1048576\n"
)

// change is a change of a config.
type change = func(*bootstrapv1.IngotConfigSpec)

// settingCases are one case for each portable setting, which differs from its base in this setting alone, and all of them
// together for each role.
func settingCases() []Case {
	cases := slices.Concat(kubeletCases(), registryCases(), hostCases(), fileCases(), diskCases())
	single := cases
	for _, role := range []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker} {
		cases = append(cases, allSettings(role, single))
	}
	return cases
}

// settingCase is a worker with one setting, beside what base sets.
func settingCase(setting settings.Setting, name, why string, base, setter change) Case {
	without := worker()
	if base != nil {
		base(&without.Config)
	}
	with := worker()
	with.Config = *without.Config.DeepCopy()
	setter(&with.Config)
	return Case{Name: "setting-" + name, Why: why, Input: with, Setting: setting, Without: &without}
}

func kubeletCases() []Case {
	var cases []Case
	kubelet := func(setting settings.Setting, name, why string, change func(*bootstrapv1.KubeletSettings)) {
		cases = append(cases, settingCase(setting, name, why, nil, func(c *bootstrapv1.IngotConfigSpec) { change(&c.Node.Kubelet) }))
	}
	kubelet(settings.KubeletMaxPods, "max-pods", "more Pods than the kubelet allows by itself", func(k *bootstrapv1.KubeletSettings) { k.MaxPods = ptr.To[int32](200) })
	kubelet(settings.KubeletPodPidsLimit, "pod-pids-limit", "one Pod cannot take all processes", func(k *bootstrapv1.KubeletSettings) { k.PodPidsLimit = ptr.To[int64](4096) })
	kubelet(settings.KubeletSystemReserved, "system-reserved", "the operating system keeps its share", func(k *bootstrapv1.KubeletSettings) {
		k.SystemReserved = map[string]string{"cpu": "250m", "memory": "512Mi", "pid": "1000"}
	})
	kubelet(settings.KubeletKubeReserved, "kube-reserved", "kubelet and container runtime keep their share", func(k *bootstrapv1.KubeletSettings) {
		k.KubeReserved = map[string]string{"cpu": "100m", "ephemeral-storage": "1Gi"}
	})
	kubelet(settings.KubeletEvictionHard, "eviction-hard", "Pods go before memory and disk are gone", func(k *bootstrapv1.KubeletSettings) {
		k.EvictionHard = map[string]string{"memory.available": "200Mi", "nodefs.available": "10%"}
	})
	kubelet(settings.KubeletShutdown, "shutdown", "a shutdown waits for Pods", func(k *bootstrapv1.KubeletSettings) { k.ShutdownGracePeriodSeconds = ptr.To[int32](60) })
	return append(cases, settingCase(settings.KubeletShutdownCritical, "shutdown-critical", "critical Pods go last",
		func(c *bootstrapv1.IngotConfigSpec) { c.Node.Kubelet.ShutdownGracePeriodSeconds = ptr.To[int32](60) },
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Node.Kubelet.ShutdownGracePeriodCriticalPodsSeconds = ptr.To[int32](20)
		}))
}

func registryCases() []Case {
	var cases []Case
	add := func(setting settings.Setting, name, why string, base, setter change) {
		cases = append(cases, settingCase(setting, name, why, base, setter))
	}
	mirrored := func(c *bootstrapv1.IngotConfigSpec) {
		c.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: mirrorURL + "/v2/hub"}}}}
	}
	mirror := func(setting settings.Setting, name, why string, change func(*bootstrapv1.RegistryMirror)) {
		add(setting, name, why, mirrored, func(c *bootstrapv1.IngotConfigSpec) { change(&c.Registries[0].Mirrors[0]) })
	}
	add(settings.RegistryMirrors, "registry-mirrors", "images come from two mirrors and then from the registry", nil, func(c *bootstrapv1.IngotConfigSpec) {
		mirrored(c)
		c.Registries[0].Mirrors = append(c.Registries[0].Mirrors, bootstrapv1.RegistryMirror{URL: "http://192.0.2.20:5000"})
	})
	add(settings.RegistryAny, "registry-any", "one mirror for all that have no entry", mirrored, func(c *bootstrapv1.IngotConfigSpec) { c.Registries[0].Host = settings.AnyRegistry })
	mirror(settings.RegistryMirrorOverridePath, "registry-override-path", "a mirror whose API has a path of its own", func(m *bootstrapv1.RegistryMirror) { m.OverridePath = new(true) })
	mirror(settings.RegistryMirrorAuthority, "registry-mirror-authority", "a mirror with an authority of one's own", func(m *bootstrapv1.RegistryMirror) { m.CertificateAuthority = sampleAuthority })
	mirror(settings.RegistryMirrorLogin, "registry-mirror-credentials", "a mirror that wants a password", func(m *bootstrapv1.RegistryMirror) { m.Credentials = sampleCredentials() })
	add(settings.RegistrySkipFallback, "registry-skip-fallback", "the registry itself is never asked", mirrored,
		func(c *bootstrapv1.IngotConfigSpec) { c.Registries[0].SkipFallback = new(true) })
	add(settings.RegistryAuthority, "registry-authority", "a registry with an authority of one's own", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Registries = []bootstrapv1.Registry{{Host: "registry.example.com:5000", CertificateAuthority: sampleAuthority}}
	})
	add(settings.RegistryLogin, "registry-credentials", "a registry that wants a password", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Registries = []bootstrapv1.Registry{{Host: "registry.example.com", Credentials: sampleCredentials()}}
	})
	return cases
}

func hostCases() []Case {
	var cases []Case
	add := func(setting settings.Setting, name, why string, base, setter change) {
		cases = append(cases, settingCase(setting, name, why, base, setter))
	}
	add(settings.TrustBundle, "trust-bundle", "authorities of one's own for everything", nil, func(c *bootstrapv1.IngotConfigSpec) { c.AdditionalTrustBundle = sampleAuthority })
	add(settings.NTPServers, "ntp", "time from servers of one's own", nil,
		func(c *bootstrapv1.IngotConfigSpec) { c.NTP.Servers = []string{"ntp1.example.com", "192.0.2.123"} })
	add(settings.HTTPProxy, "http-proxy", "plain http goes through a proxy", nil, func(c *bootstrapv1.IngotConfigSpec) { c.Proxy.HTTPProxy = "http://proxy.example.com:3128" })
	add(settings.HTTPSProxy, "https-proxy", "https goes through a proxy", nil, func(c *bootstrapv1.IngotConfigSpec) { c.Proxy.HTTPSProxy = "http://proxy.example.com:3128" })
	add(settings.NoProxy, "no-proxy", "some hosts are reached directly",
		func(c *bootstrapv1.IngotConfigSpec) { c.Proxy.HTTPSProxy = "http://proxy.example.com:3128" },
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Proxy.NoProxy = []string{".example.com", "192.0.2.0/24"}
		})
	add(settings.Sysctls, "sysctls", "kernel parameters", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Sysctls = map[string]bootstrapv1.SysctlValue{"vm.max_map_count": "262144", "net.ipv4.ip_local_port_range": "10240 65535"}
	})
	add(settings.KernelModules, "kernel-modules", "kernel modules", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.KernelModules = []bootstrapv1.KernelModule{{Name: "nvme_tcp"}, {Name: "dm-crypt"}}
	})
	add(settings.KernelModuleParameters, "kernel-module-parameters", "a kernel module with parameters",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.KernelModules = []bootstrapv1.KernelModule{{Name: "nvme_tcp"}}
		},
		func(c *bootstrapv1.IngotConfigSpec) {
			c.KernelModules[0].Parameters = []string{"wq_unbound=1", "so_priority=3"}
		})
	return cases
}

func fileCases() []Case {
	var cases []Case
	add := func(setting settings.Setting, name, why string, base, setter change) {
		cases = append(cases, settingCase(setting, name, why, base, setter))
	}
	add(settings.Files, "files", "files with their modes", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Files = []bootstrapv1.File{
			{Path: "/etc/multipath.conf", Content: new("defaults {\n  user_friendly_names yes\n}\n")},
			{Path: "/etc/empty.d/none", Content: new(""), Permissions: "0600"},
		}
	})
	add(settings.FileAppend, "file-append", "a line more in a file of the image",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Files = []bootstrapv1.File{{Path: "/etc/services", Content: new("ingot 1/tcp\n")}}
		},
		func(c *bootstrapv1.IngotConfigSpec) { c.Files[0].Append = new(true) })
	add(settings.FileContentFrom, "file-secrets", "a file whose content must not stand in a config", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Files = []bootstrapv1.File{{Path: "/etc/agent/token", ContentFrom: secretValue("agent", "token")}}
	})
	add(settings.Units, "units", "a unit of one's own, and one of the image", nil, func(c *bootstrapv1.IngotConfigSpec) {
		c.Units = []bootstrapv1.Unit{
			{Name: "hello.service", Contents: sampleUnit, Enabled: new(true)},
			{Name: "multipathd.service", Enabled: new(true)},
			{Name: "idle.service", Contents: "[Service]\nExecStart=/usr/bin/true\n"},
		}
	})
	add(settings.UnitDropins, "unit-dropins", "a unit that runs is extended",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Units = []bootstrapv1.Unit{{Name: "hello.service", Contents: sampleUnit, Enabled: new(true)}}
		},
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Units[0].Dropins = []bootstrapv1.UnitDropin{{Name: "10-limits.conf", Contents: sampleDropin}}
		})

	return cases
}

// diskCases stand alone: a disk is encrypted on no node of allSettings, whose bytes are older.
func diskCases() []Case {
	encrypted := func(key bootstrapv1.DiskKey) change {
		return func(c *bootstrapv1.IngotConfigSpec) { c.DiskEncryption.Key = key }
	}
	cases := []Case{
		settingCase(settings.DiskEncryption, "disk-encryption", "the TPM of the machine opens its disk", nil, encrypted(bootstrapv1.DiskKeyTPM2)),
		settingCase(settings.DiskEncryptionNodeID, "disk-encryption-node-id", "the UUID of the machine opens its disk", nil, encrypted(bootstrapv1.DiskKeyNodeID)),
	}
	for role, name := range map[bootstrapv1.Role]string{bootstrapv1.RoleInit: "init", bootstrapv1.RoleControlPlane: "control-plane"} {
		with, without := input(role), input(role)
		with.Config.DiskEncryption.Key = bootstrapv1.DiskKeyTPM2
		cases = append(cases, Case{
			Name: "setting-disk-encryption-" + name, Why: "what etcd keeps is encrypted as well", Input: with, Setting: settings.DiskEncryption, Without: &without,
		})
	}
	return cases
}

// allSettings has every setting at once but encryption of the disk.
func allSettings(role bootstrapv1.Role, cases []Case) Case {
	in := input(role)
	in.Secrets = sampleSecrets()
	config := &in.Config
	for _, c := range cases {
		from := c.Input.Config.DeepCopy()
		switch c.Setting {
		case settings.KubeletMaxPods:
			config.Node.Kubelet.MaxPods = from.Node.Kubelet.MaxPods
		case settings.KubeletPodPidsLimit:
			config.Node.Kubelet.PodPidsLimit = from.Node.Kubelet.PodPidsLimit
		case settings.KubeletSystemReserved:
			config.Node.Kubelet.SystemReserved = from.Node.Kubelet.SystemReserved
		case settings.KubeletKubeReserved:
			config.Node.Kubelet.KubeReserved = from.Node.Kubelet.KubeReserved
		case settings.KubeletEvictionHard:
			config.Node.Kubelet.EvictionHard = from.Node.Kubelet.EvictionHard
		case settings.KubeletShutdownCritical:
			config.Node.Kubelet.ShutdownGracePeriodSeconds = from.Node.Kubelet.ShutdownGracePeriodSeconds
			config.Node.Kubelet.ShutdownGracePeriodCriticalPodsSeconds = from.Node.Kubelet.ShutdownGracePeriodCriticalPodsSeconds
		case settings.TrustBundle:
			config.AdditionalTrustBundle = from.AdditionalTrustBundle
		case settings.NTPServers:
			config.NTP = from.NTP
		case settings.HTTPProxy:
			config.Proxy.HTTPProxy = from.Proxy.HTTPProxy
		case settings.NoProxy:
			config.Proxy.HTTPSProxy, config.Proxy.NoProxy = from.Proxy.HTTPSProxy, from.Proxy.NoProxy
		case settings.Sysctls:
			config.Sysctls = from.Sysctls
		case settings.KernelModules, settings.KernelModuleParameters:
			config.KernelModules = from.KernelModules
		case settings.Files, settings.FileAppend, settings.FileContentFrom:
			config.Files = append(config.Files, from.Files...)
		case settings.Units:
			config.Units = append(config.Units, from.Units...)
		default: // registries follow, and parts of others
		}
	}
	config.Units = append(config.Units, bootstrapv1.Unit{
		Name: "containerd.service", Dropins: []bootstrapv1.UnitDropin{{Name: "10-limits.conf", Contents: sampleDropin}},
	})
	config.Registries = []bootstrapv1.Registry{
		{Host: settings.AnyRegistry, Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://any.example.com/v2/cache", OverridePath: new(true), Credentials: sampleCredentials()}}},
		{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{
			{URL: mirrorURL + "/v2/hub", OverridePath: new(true), CertificateAuthority: sampleAuthority, Credentials: sampleCredentials()},
			{URL: "http://192.0.2.20:5000"},
		}},
		{
			Host: "quay.io", SkipFallback: new(true),
			Mirrors: []bootstrapv1.RegistryMirror{
				{URL: "https://first.example.com"},
				{URL: mirrorURL + "/v2/quay", OverridePath: new(true), CertificateAuthority: sampleAuthority, Credentials: sampleCredentials()},
			},
		},
		{Host: "registry.example.com:5000", CertificateAuthority: sampleAuthority, Credentials: sampleCredentials()},
	}
	in.Config.Role = role
	name := map[bootstrapv1.Role]string{bootstrapv1.RoleInit: "init", bootstrapv1.RoleControlPlane: "control-plane", bootstrapv1.RoleWorker: "worker"}[role]
	return Case{Name: "settings-" + name, Why: "every portable setting at once", Input: in}
}

func worker() osfamily.Input {
	in := input(bootstrapv1.RoleWorker)
	in.Secrets = sampleSecrets()
	return in
}

func sampleSecrets() osfamily.Secrets {
	return osfamily.Secrets{
		"registry": {"password": []byte(samplePassword)},
		"agent":    {"token": []byte(sampleToken)},
	}
}

func sampleCredentials() bootstrapv1.RegistryCredentials {
	return bootstrapv1.RegistryCredentials{Username: "robot$nodes", PasswordFrom: secretValue("registry", "password")}
}

func secretValue(name, key string) bootstrapv1.ValueSource {
	return bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: name, Key: key}}
}

// refusal is where the family must refuse a case.
func (s Suite) refusal(c Case) (path string, refused bool) {
	if path, refused = s.Refuses[c.Name]; refused {
		return path, true
	}
	for _, use := range settings.Uses(c.Input.Config) {
		if !s.Support.Renders(use.Setting) {
			return use.Path, true
		}
	}
	return "", false
}

// Dropped lists the settings that the family neither renders nor refuses: with and without them the node is the same.
func (s Suite) Dropped() []settings.Setting {
	var dropped []settings.Setting
	for _, c := range Cases(s.Select) {
		if c.Without == nil {
			continue
		}
		with, report := s.Family.Render(c.Input)
		without, _ := s.Family.Render(*c.Without)
		if report.Err() == nil && bytes.Equal(with.Data, without.Data) {
			dropped = append(dropped, c.Setting)
		}
	}
	return dropped
}

// checkCases demands a case for every setting.
func checkCases(t *testing.T) {
	t.Helper()
	var tried []settings.Setting
	for _, c := range Cases(func(*bootstrapv1.IngotConfigSpec) {}) {
		tried = append(tried, c.Setting)
	}
	for _, setting := range settings.All() {
		if !slices.Contains(tried, setting) {
			t.Errorf("no case tries %s", setting)
		}
	}
}

// checkSupport demands an answer for every setting.
func (s Suite) checkSupport(t *testing.T) {
	for _, setting := range settings.All() {
		if !s.Support.Renders(setting) && s.Support.Reason(setting) == "" {
			t.Errorf("the family's table neither renders %s nor says why not", setting)
		}
	}
}

// brokenSettings are values that no operating system could take.
func brokenSettings() []Case { return slices.Concat(brokenHostSettings(), brokenFileSettings()) }

func brokenHostSettings() []Case {
	var cases []Case
	add := func(name, path string, change func(*osfamily.Input)) {
		in := worker()
		change(&in)
		cases = append(cases, Case{Name: name, Path: path, Input: in})
	}
	config := func(name, path string, setter change) {
		add(name, path, func(in *osfamily.Input) { setter(&in.Config) })
	}
	config("an annotation of Kubernetes", "spec.node.annotations[node.alpha.kubernetes.io/ttl]", func(c *bootstrapv1.IngotConfigSpec) {
		c.Node.Annotations = map[string]bootstrapv1.AnnotationValue{"node.alpha.kubernetes.io/ttl": "1"}
	})
	config("a reservation that is no quantity", "spec.node.kubelet.systemReserved[memory]", func(c *bootstrapv1.IngotConfigSpec) {
		c.Node.Kubelet.SystemReserved = map[string]string{"memory": "some"}
	})
	config("a threshold above all", "spec.node.kubelet.evictionHard[nodefs.available]", func(c *bootstrapv1.IngotConfigSpec) {
		c.Node.Kubelet.EvictionHard = map[string]string{"nodefs.available": "110%"}
	})
	config("a setting that a flag says as well", "spec.node.kubeletExtraArgs[0]", func(c *bootstrapv1.IngotConfigSpec) {
		c.Node.Kubelet.MaxPods = ptr.To[int32](50)
		c.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "max-pods", Value: "60"}}
	})
	mirror := func(mirror bootstrapv1.RegistryMirror) func(*bootstrapv1.IngotConfigSpec) {
		return func(c *bootstrapv1.IngotConfigSpec) {
			c.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{mirror}}}
		}
	}
	config("a mirror with a password in its address", "spec.registries[0].mirrors[0].url", mirror(bootstrapv1.RegistryMirror{URL: "https://user:" + secretMark + "@mirror.example.com/?a"}))
	config("credentials that everybody can listen to", "spec.registries[0].mirrors[0].credentials",
		mirror(bootstrapv1.RegistryMirror{URL: "http://mirror.example.com", Credentials: sampleCredentials()}))
	config("an authority that is a key", "spec.registries[0].mirrors[0].certificateAuthority", mirror(bootstrapv1.RegistryMirror{
		URL: mirrorURL, CertificateAuthority: "-----BEGIN EC " + secretMark + " KEY-----\nAA==\n-----END EC " + secretMark + " KEY-----\n",
	}))
	config("a password that nobody read", "spec.registries[0].mirrors[0].credentials.passwordFrom.secret", mirror(bootstrapv1.RegistryMirror{
		URL: mirrorURL, Credentials: bootstrapv1.RegistryCredentials{Username: "robot", PasswordFrom: secretValue("registry", "other")},
	}))
	add("a password with a line break", "spec.registries[0].mirrors[0].credentials.passwordFrom.secret", func(in *osfamily.Input) {
		mirror(bootstrapv1.RegistryMirror{URL: mirrorURL, Credentials: sampleCredentials()})(&in.Config)
		in.Secrets["registry"]["password"] = []byte(samplePassword + "\n")
	})
	config("a bundle without certificates", "spec.additionalTrustBundle", func(c *bootstrapv1.IngotConfigSpec) { c.AdditionalTrustBundle = "none\n" })
	config("a time server that is none", "spec.ntp.servers[0]", func(c *bootstrapv1.IngotConfigSpec) { c.NTP.Servers = []string{"a b"} })
	config("a proxy with a password in its address", "spec.proxy.httpsProxy",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Proxy.HTTPSProxy = "http://user:" + secretMark + "@proxy.example.com"
		})
	config("a sysctl with two lines", "spec.sysctls[kernel.core_pattern]",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Sysctls = map[string]bootstrapv1.SysctlValue{"kernel.core_pattern": "core\nvm.swappiness = 0"}
		})
	config("a disk whose key nobody has", string(settings.DiskEncryption), func(c *bootstrapv1.IngotConfigSpec) { c.DiskEncryption.Key = "Passphrase" })
	add("a disk whose key a TPM keeps that is not there", string(settings.DiskEncryption), func(in *osfamily.Input) {
		in.Config.DiskEncryption.Key, in.Machine.NoTPM = bootstrapv1.DiskKeyTPM2, true
	})
	config("a kernel module that is a command", "spec.kernelModules[0].name",
		func(c *bootstrapv1.IngotConfigSpec) {
			c.KernelModules = []bootstrapv1.KernelModule{{Name: "a; reboot"}}
		})
	return cases
}

func brokenFileSettings() []Case {
	var cases []Case
	config := func(name, path string, setter change) {
		in := worker()
		setter(&in.Config)
		cases = append(cases, Case{Name: name, Path: path, Input: in})
	}
	file := func(file bootstrapv1.File) func(*bootstrapv1.IngotConfigSpec) {
		return func(c *bootstrapv1.IngotConfigSpec) { c.Files = []bootstrapv1.File{file} }
	}
	config("a file with a way out of its folder", "spec.files[0].path", file(bootstrapv1.File{Path: "/etc/../etc/shadow", Content: new("")}))
	config("a file of Ingot", "spec.files[0].path", file(bootstrapv1.File{Path: "/etc/ingot/join", Content: new("")}))
	config("a file that is a unit", "spec.files[0].path", file(bootstrapv1.File{Path: "/etc/systemd/system/a.service", Content: new("")}))
	config("a file that is not kept", "spec.files[0].path", file(bootstrapv1.File{Path: "/run/a", Content: new("")}))
	config("a file from nowhere", "spec.files[0]", file(bootstrapv1.File{Path: "/etc/a"}))
	config("a file whose Secret nobody read", "spec.files[0].contentFrom.secret", file(bootstrapv1.File{Path: "/etc/a", ContentFrom: secretValue("none", "none")}))
	config("files that have no room", "spec.files", file(bootstrapv1.File{Path: "/etc/a", Content: new(strings.Repeat("a", 1<<20))}))
	unit := func(unit bootstrapv1.Unit) func(*bootstrapv1.IngotConfigSpec) {
		return func(c *bootstrapv1.IngotConfigSpec) { c.Units = []bootstrapv1.Unit{unit} }
	}
	config("a unit of Ingot", "spec.units[0].name", unit(bootstrapv1.Unit{Name: "ingot-bootstrap.service", Contents: sampleUnit}))
	config("a unit that does not start", "spec.units[0].contents", unit(bootstrapv1.Unit{Name: "a.service", Contents: "[Service]\nExecStart=/usr/bin/true\n", Enabled: new(true)}))
	config("a unit that systemd does not read", "spec.units[0].contents", unit(bootstrapv1.Unit{Name: "a.service", Contents: "ExecStart"}))
	return cases
}

// FuzzSettings feeds portable settings nonsense, with the laws of Fuzz.
func FuzzSettings(f *testing.F, s Suite) {
	f.Helper()
	f.Add("docker.io", "https://mirror.example.com/v2/hub", sampleAuthority, "robot", "password", "/etc/a", "a", "0600", "a.service", sampleUnit, "vm.swappiness", "1", true)
	f.Add("*", "http://[::1]:5000", "", "", "", "/etc/ingot/a", "", "", "containerd.service", sampleDropin, "a", "\n", false)
	f.Add("\"", "https://\"\n[header]", "-----BEGIN", "a:b", "\"\\\n", "/", "\x00", "7", "apt-daily.timer", "[", "net/ipv4/conf/eth0.1/rp_filter", "\"", true)
	f.Fuzz(func(t *testing.T, host, url, authority, user, password, path, content, mode, unit, text, key, value string, flag bool) {
		in := worker()
		selectInto(&in, s.Select)
		credentials := bootstrapv1.RegistryCredentials{Username: user, PasswordFrom: secretValue("registry", "password")}
		in.Secrets["registry"]["password"] = []byte(password)
		in.Secrets["agent"]["token"] = []byte(content)
		in.Config.Registries = []bootstrapv1.Registry{{
			Host: host, SkipFallback: &flag,
			Mirrors: []bootstrapv1.RegistryMirror{{URL: url, OverridePath: &flag, CertificateAuthority: authority, Credentials: credentials}},
		}}
		in.Config.AdditionalTrustBundle = authority
		in.Config.NTP.Servers = []string{host}
		in.Config.Proxy = bootstrapv1.ProxySettings{HTTPProxy: url, NoProxy: []string{host}}
		in.Config.Sysctls = map[string]bootstrapv1.SysctlValue{key: bootstrapv1.SysctlValue(value)}
		in.Config.KernelModules = []bootstrapv1.KernelModule{{Name: key, Parameters: []string{value}}}
		in.Config.Files = []bootstrapv1.File{
			{Path: path, Permissions: mode, Append: &flag, Content: &content},
			{Path: path + "x", ContentFrom: secretValue("agent", "token")},
		}
		in.Config.Units = []bootstrapv1.Unit{{Name: unit, Contents: text, Enabled: &flag, Dropins: []bootstrapv1.UnitDropin{{Name: host + ".conf", Contents: text}}}}
		in.Config.Node.Kubelet.SystemReserved = map[string]string{key: value}
		in.Config.Node.Kubelet.EvictionHard = map[string]string{key: value}
		s.checkNonsense(t, in)
		s.checkEachAlone(t, in)
	})
}

// checkEachAlone gives every setting a chance to be accepted beside others that are nonsense.
func (s Suite) checkEachAlone(t *testing.T, in osfamily.Input) {
	t.Helper()
	all := in.Config
	for _, take := range []func(*bootstrapv1.IngotConfigSpec){
		func(c *bootstrapv1.IngotConfigSpec) { c.Registries = all.Registries },
		func(c *bootstrapv1.IngotConfigSpec) {
			c.Registries = []bootstrapv1.Registry{*all.Registries[0].DeepCopy()}
			c.Registries[0].Mirrors[0].Credentials, c.Registries[0].Mirrors[0].CertificateAuthority = bootstrapv1.RegistryCredentials{}, ""
		},
		func(c *bootstrapv1.IngotConfigSpec) { c.AdditionalTrustBundle = all.AdditionalTrustBundle },
		func(c *bootstrapv1.IngotConfigSpec) { c.NTP = all.NTP },
		func(c *bootstrapv1.IngotConfigSpec) { c.Proxy = all.Proxy },
		func(c *bootstrapv1.IngotConfigSpec) { c.Sysctls = all.Sysctls },
		func(c *bootstrapv1.IngotConfigSpec) { c.KernelModules = all.KernelModules },
		func(c *bootstrapv1.IngotConfigSpec) { c.Files = all.Files },
		func(c *bootstrapv1.IngotConfigSpec) { c.Units = all.Units },
		func(c *bootstrapv1.IngotConfigSpec) { c.Node.Kubelet = all.Node.Kubelet },
	} {
		in.Config = bootstrapv1.IngotConfigSpec{}
		s.Select(&in.Config)
		take(&in.Config)
		s.checkNonsense(t, in)
	}
}
