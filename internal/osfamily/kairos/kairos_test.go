// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

const (
	configPath = "spec.kairos.cloudConfig"
	digest     = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func suite(distribution bootstrapv1.KairosDistribution) osfamilytest.Suite {
	s := osfamilytest.Suite{
		Family:        kairos.New(),
		Format:        ingotv1.BootstrapFormatCloudConfig,
		Select:        func(spec *bootstrapv1.IngotConfigSpec) { spec.Kairos.Distribution = distribution },
		Validate:      kairos.Validate,
		Readable:      func(data []byte) (string, error) { return string(data), nil },
		SelfUpdateOff: selfUpdateOff,
		Refuses:       refused(),
		Support:       kairos.Support(distribution),
		Testdata:      "testdata/" + string(distribution),
	}
	s.Own = ownCases(s.Select)
	if distribution == bootstrapv1.KairosDistributionK3s {
		s.Own = append(s.Own, registryCases(s.Select)...)
	}
	return s
}

// refused are the control planes, and the timeout of a kubeadm that does not run.
func refused() map[string]string {
	const role = "spec.role"
	return map[string]string{
		"init": role, "init-full": role, "init-no-taints": role, "init-vip-default-interface": role, "init-restore": role,
		"init-restore-own-authority": role, "init-defaults-of-kubeadm": role, "control-plane": role, "control-plane-full": role,
		"worker-full": "spec.joinTimeoutSeconds", "worker-identity-report": "spec.node.identityReport",
		"setting-eviction-hard": "spec.node.kubelet.evictionHard[nodefs.available]", // in percent
	}
}

// portableCases are what the suite cannot know: what does not survive the way to the machine, and what is written already.
func portableCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, change func(*osfamily.Input)) {
		in := osfamilytest.Worker(selectFamily)
		in.Secrets = osfamily.Secrets{"registry": {"password": []byte("correct horse")}, "agent": {"key": {0, 0xff, '{', '{', '{', '\n'}}}
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	key := func(name, key string) bootstrapv1.ValueSource {
		return bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: name, Key: key}}
	}
	add("worker-portable", "every portable setting at once, and files that hold what yip would take for templates", "", func(in *osfamily.Input) {
		in.Config.Node.Kubelet = bootstrapv1.KubeletSettings{
			MaxPods: new(int32(200)), PodPidsLimit: new(int64(4096)),
			SystemReserved: map[string]string{"cpu": "250m", "memory": "512Mi"}, KubeReserved: map[string]string{"cpu": "100m"},
			EvictionHard: map[string]string{"memory.available": "200Mi", "nodefs.available": "2Gi"},
		}
		in.Config.AdditionalTrustBundle = osfamily.PlaceholderAuthority
		in.Config.NTP.Servers = []string{"ntp1.example.com", "192.0.2.123"}
		in.Config.Proxy = bootstrapv1.ProxySettings{HTTPSProxy: "http://proxy.example.com:3128", NoProxy: []string{".example.com"}}
		in.Config.Sysctls = map[string]bootstrapv1.SysctlValue{"vm.max_map_count": "262144"}
		in.Config.KernelModules = []bootstrapv1.KernelModule{{Name: "nvme_tcp", Parameters: []string{"wq_unbound=Y"}}}
		in.Config.Files = []bootstrapv1.File{
			{Path: "/etc/opt/braces.conf", Content: new("a {{ .Values.node.hostname }} {{{b}}} {{- c -}}\n# $x %h\n")},
			{Path: "/etc/opt/key", ContentFrom: key("agent", "key")},
		}
		in.Config.Units = []bootstrapv1.Unit{
			{Name: "hello.service", Contents: "[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n", Enabled: new(true)},
			{Name: "multipathd.service", Enabled: new(true), Dropins: []bootstrapv1.UnitDropin{{Name: "10-a.conf", Contents: "[Service]\nNice=5\n"}}},
		}
	})
	add("worker-braces", "what holds templates arrives as it is, and only what the user writes in Kairos' own language is executed", "", func(in *osfamily.Input) {
		in.Config.Files = []bootstrapv1.File{
			{Path: "/etc/opt/braces.conf", Content: new("a {{ .Values.node.hostname }} {{{b}}} {{- c -}}\n# $x %h\n")},
			{Path: "/etc/opt/template.conf", Content: new("host {{ .Values.node.hostname }}\n")},
			{Path: "/etc/opt/quotes.conf", Content: new("{{ `a {{ b }}` }} {{`{{`}} {{\"{{\"}} \"{{ printf \"%q\" `c` }}\" '{{ d }}' {{{{ e }}}} {{/* f */}}\ng {{")},
			{Path: "/etc/opt/key", ContentFrom: key("agent", "key")},
		}
		in.Config.Units = []bootstrapv1.Unit{{
			Name: "braces.service", Contents: "[Service]\nExecStart=/usr/bin/echo {{.State.Running}}\n",
			Dropins: []bootstrapv1.UnitDropin{{Name: "10-a.conf", Contents: "[Service]\nEnvironment=A={{b}}\n"}},
		}}
		in.Config.Kairos.CloudConfig = `stages: {initramfs: [{files: [{path: /etc/opt/own.conf, content: 'a {{ upper "template" }}'}]}]}`
	})
	add("a file that is written twice", "", configPath, func(in *osfamily.Input) {
		in.Config.Sysctls = map[string]bootstrapv1.SysctlValue{"vm.swappiness": "1"}
		in.Config.Kairos.CloudConfig = "stages: {boot: [{files: [{path: /etc/sysctl.d/99-z-ingot.conf, content: a}]}]}\n"
	})
	add("a file that is further configuration", "", "spec.files[0].path", func(in *osfamily.Input) {
		in.Config.Files = []bootstrapv1.File{{Path: "/oem/99_mine.yaml", Content: new("a")}}
	})
	add("a file below what cannot be written", "", "spec.files[0].path", func(in *osfamily.Input) {
		in.Config.Files = []bootstrapv1.File{{Path: "/usr/lib/a", Content: new("a")}}
	})
	add("a file of a portable setting", "", "spec.files[0].path", func(in *osfamily.Input) {
		in.Config.NTP.Servers = []string{"ntp.example.com"}
		in.Config.Files = []bootstrapv1.File{{Path: "/etc/chrony/sources.d/ingot.sources", Content: new("a")}}
	})
	for _, name := range []string{"k3s-agent.service", "k0sworker.service", "cos-setup-reconcile.timer"} {
		add("the unit "+name, "", "spec.units[0].name", func(in *osfamily.Input) { in.Config.Units = []bootstrapv1.Unit{{Name: name, Enabled: new(true)}} })
	}
	return cases
}

// registryCases are for k3s. Of k0s nothing is known that holds for every version.
func registryCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, change func(*osfamily.Input)) {
		in := osfamilytest.Worker(selectFamily)
		in.Secrets = osfamily.Secrets{"registry": {"password": []byte("correct horse")}}
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	add("worker-registries", "k3s takes the path of a mirror for the root of its API", "", func(in *osfamily.Input) {
		login := bootstrapv1.RegistryCredentials{Username: "robot", PasswordFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "registry", Key: "password"}}}
		in.Config.Registries = []bootstrapv1.Registry{
			{Host: "docker.io", Credentials: login, Mirrors: []bootstrapv1.RegistryMirror{
				{URL: "https://mirror.example.com/hub", Credentials: login, CertificateAuthority: osfamily.PlaceholderAuthority},
				{URL: "https://mirror.example.com/v2/hub", OverridePath: new(true)},
				{URL: "http://192.0.2.20:5000"},
			}},
			{Host: "*", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://any.example.com"}}},
		}
	})
	add("a list of registries that is written twice", "", configPath, func(in *osfamily.Input) {
		in.Config.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com"}}}}
		in.Config.Kairos.CloudConfig = "write_files: [{path: /etc/rancher/k3s/registries.yaml, content: a}]\n"
	})
	return cases
}

func ownCases(selectFamily func(*bootstrapv1.IngotConfigSpec)) []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, in osfamily.Input, change func(*osfamily.Input)) {
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	worker := func() osfamily.Input { return osfamilytest.Worker(selectFamily) }
	full := osfamilytest.FullWorker(func(spec *bootstrapv1.IngotConfigSpec) {
		selectFamily(spec)
		spec.JoinTimeoutSeconds = nil
	})
	cases = append(cases, portableCases(selectFamily)...)
	add("worker-every-option", "every portable option that Kairos has", "", full, func(*osfamily.Input) {})
	add("worker-cloud-config", "what the user adds comes beside, and in lists after, what Ingot sets", "", worker(), func(in *osfamily.Input) {
		in.Config.Kairos.CloudConfig = everything
	})
	add("worker-cloud-config-self-update-allowed", "who lets the node change itself may say how", "", worker(), func(in *osfamily.Input) {
		in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		in.Config.Kairos.CloudConfig = selfUpdating
	})
	add("worker-taint-without-value", "a taint need not have a value", "", worker(), func(in *osfamily.Input) {
		in.Config.Node.Taints = &[]corev1.Taint{{Key: "example.com/warm", Effect: corev1.TaintEffectNoExecute}}
	})

	add("no distribution", "", "spec.kairos.distribution", worker(), func(in *osfamily.Input) { in.Config.Kairos.Distribution = "" })
	add("a distribution that nobody renders", "", "spec.kairos.distribution", worker(), func(in *osfamily.Input) { in.Config.Kairos.Distribution = "rke2" })
	add("no authority", "", "join.caCert", worker(), func(in *osfamily.Input) { in.Join.CACert = nil })
	add("an authority that is none", "", "join.caCert", worker(), func(in *osfamily.Input) { in.Join.CACert = []byte("rubbish") })
	add("an argument that systemd changes", "", "spec.node.kubeletExtraArgs[0]", worker(), func(in *osfamily.Input) {
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "root-dir", Value: "/var/lib/%n"}}
	})
	add("an argument that yip executes", "", "spec.node.kubeletExtraArgs[1]", worker(), func(in *osfamily.Input) {
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "v", Value: "2"}, {Name: "root-dir", Value: "/var/lib/{{.Values.node.hostname}}"}}
	})
	add("an identity that yip executes", "", "Machine.spec.providerID", worker(), func(in *osfamily.Input) { in.Machine.ProviderID = "other://{{.Values.node.hostname}}" })
	add("an argument with a control character", "", "spec.node.kubeletExtraArgs[0]", worker(), func(in *osfamily.Input) {
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "root-dir", Value: "/var/lib/\x1b"}}
	})
	add("an identity that systemd changes", "", "Machine.spec.providerID", worker(), func(in *osfamily.Input) { in.Machine.ProviderID = "other://$HOME" })
	return cases
}

func TestConformance(t *testing.T) {
	for _, distribution := range []bootstrapv1.KairosDistribution{"k3s", "k0s"} {
		t.Run(string(distribution), func(t *testing.T) { osfamilytest.Run(t, suite(distribution)) })
	}
}

func FuzzRenderK3s(f *testing.F) { osfamilytest.Fuzz(f, suite("k3s")) }

func FuzzRenderK0s(f *testing.F) { osfamilytest.Fuzz(f, suite("k0s")) }

func FuzzCloudConfig(f *testing.F) {
	osfamilytest.FuzzText(f, suite("k3s"), func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Kairos.CloudConfig = text },
		everything, selfUpdating, "#cloud-config\na: &a [*a]\n", "#include http://192.0.2.1/\n", "users: [{uid: 1000, lock_passwd: yes}]\n")
}

func BenchmarkRenderK3s(b *testing.B) { osfamilytest.Benchmark(b, suite("k3s")) }

func BenchmarkRenderK0s(b *testing.B) { osfamilytest.Benchmark(b, suite("k0s")) }

// rendered is what a test looks at.
type rendered struct {
	Stages map[string][]struct {
		Files []struct{ Path, Content string }
	}
}

// fileOf is the content of a file that is written before the system starts.
func fileOf(t *testing.T, data []byte, path string) string {
	t.Helper()
	var doc rendered
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, step := range doc.Stages["initramfs"] {
		for _, file := range step.Files {
			if file.Path == path {
				return file.Content
			}
		}
	}
	t.Fatalf("no file %s", path)
	return ""
}

// selfUpdateOff asks whether both units of the hourly stage have the condition that is never met.
func selfUpdateOff(data []byte) bool {
	for _, unit := range []string{"service", "timer"} {
		if !bytes.Contains(data, []byte("path: /etc/systemd/system/cos-setup-reconcile."+unit+".d/ingot.conf")) {
			return false
		}
	}
	return bytes.Count(data, []byte("ConditionPathExists=!/\n")) == 2
}

func render(t *testing.T, in osfamily.Input) []byte {
	t.Helper()
	bundle, report := kairos.New().Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return bundle.Data
}

// k0s reads its token with Kubernetes' own library, and takes a worker's by the name of its user.
func TestTokenOfK0s(t *testing.T) {
	in := osfamilytest.Worker(suite("k0s").Select)
	packed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(fileOf(t, render(t, in), "/etc/k0s/ingot-token")))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://192.0.2.10:6443" || config.BearerToken != in.Join.Token || !bytes.Equal(config.CAData, in.Join.CACert) {
		t.Errorf("the token leads to %s, trusts %d bytes, or opens something else", config.Host, len(config.CAData))
	}
	parsed, err := clientcmd.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	if user := parsed.Contexts[parsed.CurrentContext].AuthInfo; user != "kubelet-bootstrap" {
		t.Errorf("the token is %s's, and k0s takes a worker's only", user)
	}
}

// An agent of k3s compares the digest with what its server shows, and refuses another cluster.
func TestTokenOfK3s(t *testing.T) {
	in := osfamilytest.Worker(suite("k3s").Select)
	sum := sha256.Sum256(in.Join.CACert)
	want := "K10" + hex.EncodeToString(sum[:]) + "::" + in.Join.Token + "\n"
	if got := fileOf(t, render(t, in), "/etc/rancher/k3s/ingot-token"); got != want {
		t.Errorf("token %q, want %q", got, want)
	}
	in.Join.CACert = bytes.Repeat(in.Join.CACert, 2)
	if _, report := kairos.New().Render(in); report.Err() == nil {
		t.Error("two authorities have another digest, and the agent would refuse its cluster")
	}
	in.Config.Kairos.Distribution = "k0s"
	render(t, in) // trusts both
}

// What lets a machine join must not stand on a command line, which everybody on the machine can read.
func TestTokenIsNoArgument(t *testing.T) {
	for _, distribution := range []bootstrapv1.KairosDistribution{"k3s", "k0s"} {
		in := osfamilytest.Worker(suite(distribution).Select)
		for line := range strings.SplitSeq(string(render(t, in)), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "- --") && strings.Contains(line, in.Join.Token) {
				t.Errorf("%s: %s", distribution, line)
			}
		}
	}
}

// Each of these does nothing, replaces what Ingot sets, shows a secret, or lets the node change behind its image's back.
func TestCloudConfigIsRefused(t *testing.T) {
	for _, tc := range []struct{ why, config, want string }{
		{"what is no YAML", "a: [", "did not find expected"},
		{"what is no map", "- a\n", "cannot unmarshal array"},
		{"a key twice", "runcmd: [a]\nruncmd: [b]\n", `key "runcmd" already set`},
		{"another kind of user data", "#include https://192.0.2.1/config\n", `begins with "#include https://192.0.2.1/config"`},
		{"a script", "#!/bin/sh\ntrue\n", "must be cloud-config"},
		{"a template of cloud-init", "## template: jinja\n#cloud-config\n", "must be cloud-config"},
		{"a second document", "runcmd: [a]\n---\nruncmd: [b]\n", "one document"},
		{"a key that Kairos ignores", "packages: [vim]\n", `unknown field "packages"`},
		{"a slip of the pen in a stage", "stages: {boot: [{comands: [a]}]}\n", `unknown field "comands"`},
		{"another type", "runcmd: a\n", "cannot unmarshal string"},
		{"a stage that never runs", "stages: {bot: [{commands: [a]}]}\n", "stages.bot never runs on such a machine"},
		{"permissions that nobody can read", "write_files: [{path: /a, permissions: rw}]\n", `write_files[0].permissions "rw" are not octal digits`},
		{"a path that leads nowhere", "write_files: [{path: a}]\n", `write_files[0].path "a" must be absolute and clean`},
		{"keys for nobody", "ssh_authorized_keys: [ssh-ed25519 AAAA]\n", "ssh_authorized_keys are for all users, and there are none"},
		{"a user without a name", "users: [{shell: /bin/sh}]\n", "users[0] has no name"},

		{"another host name", "hostname: other\n", "hostname is the name of the Machine"},
		{"another host name at boot", "stages: {boot: [{hostname: other}]}\n", "stages.boot[0].hostname is the name of the Machine"},
		{"flags of the agent", "k3s-agent: {enabled: true, args: [--with-node-id]}\n", "k3s-agent is set by Ingot"},
		{"another capitalisation", "K3s-Agent: {enabled: true}\n", "K3s-Agent is set by Ingot"},
		{"a server", "k3s: {enabled: true}\n", "k3s would let the machine join in another way"},
		{"a controller", "k0s: {enabled: true}\n", "k0s would let the machine join in another way"},
		{"a plug-in that runs kubeadm", "cluster: {role: worker}\n", "cluster is for a plug-in of Kairos"},
		{"an election", "p2p: {network_token: a, auto: {enable: true}}\n", "p2p would let the machine choose its cluster and its role itself"},
		{"an address of a control plane", "kubevip: {eip: 192.0.2.1}\n", "kubevip is for control planes"},
		{"an installation", "install: {auto: true, image: \"docker:a\"}\n", "install installs"},
		{"an upgrade", "upgrade: {system: {uri: \"oci:a\"}}\n", "upgrade is about an upgrade in place"},
		{"another token", "write_files: [{path: /etc/rancher/k3s/ingot-token, content: a}]\n", "is set by Ingot"},
		{"another command", "stages: {boot: [{systemctl: {overrides: [{service: k3s-agent, content: a}]}}]}\n", "systemctl.overrides[0].service"},
		{"configuration that nobody checks", "write_files: [{path: /oem/99_more.yaml, content: a}]\n", "would be read as further cloud-config"},

		{"a password", "users: [{name: a, passwd: kairos}]\n", "users[0].passwd holds a secret"},
		{"a password in a stage", "stages: {boot: [{users: {a: {passwd: kairos}}}]}\n", "stages.boot[0].users.a.passwd holds a secret"},
		{"a key of a repository", "stages: {boot: [{git: {url: a, auth: {private_key: b}}}]}\n", "stages.boot[0].git.auth holds a secret"},

		{"configuration from elsewhere", "config_url: https://192.0.2.1/config\n", "config_url would be fetched at every boot, whatever is there by then; if it is meant to, set spec.selfUpdate: Allowed"},
		{"configuration from elsewhere in capitals", "CONFIG_URL: https://192.0.2.1/config\n", "config_url would be fetched"},
		{"a data source", "stages: {network: [{datasource: {providers: [aws]}}]}\n", "stages.network[0].datasource would take"},
		{"changes every hour", "stages: {reconcile: [{commands: [a]}]}\n", "stages.reconcile runs five minutes after boot and every hour"},
		{"changes after those of every hour", "stages: {reconcile.after: [{commands: [a]}]}\n", "stages.reconcile.after runs"},
		{"a bundle that can change", "bundles: [{targets: [\"run://registry.example.com/a:latest\"]}]\n", "bundles[0].targets[0] \"run://registry.example.com/a:latest\" names no digest"},
		{"an image that can change", "stages: {boot: [{unpack_images: [{source: a, target: /b}]}]}\n", "unpack_images[0].source \"a\" names no digest"},
		{"a branch that can change", "stages: {boot: [{git: {url: a}}]}\n", "git would fetch"},
		{"a download that can change", "stages: {boot: [{downloads: [{url: a, path: /b}]}]}\n", "downloads would fetch"},
		{"packages in place", "stages: {boot: [{packages: {upgrade: true}}]}\n", "packages would change the image in place"},
		{"keys from elsewhere", "users: [{name: a, ssh_authorized_keys: [\"github:a\"]}]\n", "users[0].ssh_authorized_keys would be fetched"},
		{"an upgrade in place", "runcmd: [\"kairos-agent   upgrade --source oci:a\"]\n", `holds "kairos-agent upgrade"`},
		{"an upgrade by the operator", "write_files: [{path: /var/lib/a, content: \"kind: NodeOpUpgrade\"}]\n", `holds "NodeOpUpgrade"`},
	} {
		t.Run(tc.why, func(t *testing.T) {
			in := osfamilytest.Worker(suite("k3s").Select)
			in.Config.Kairos.CloudConfig = tc.config
			bundle, report := kairos.New().Render(in)
			if len(bundle.Data) > 0 {
				t.Error("there is a bundle all the same")
			}
			found := false
			for _, finding := range report {
				found = found || finding.Path == configPath && strings.Contains(finding.Message, tc.want)
			}
			if !found {
				t.Errorf("report %q, want a finding at %s that says %q", report, configPath, tc.want)
			}
		})
	}
}

// everything has something of every key that the user may set.
const everything = `#cloud-config
# a comment
name: nodes of the example
users:
- name: operator
  uid: 1000
  groups: [admin]
  lock_passwd: true
  ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvoidedAtAllCosts operator@example.com
ssh_authorized_keys:
- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIForEverybody all@example.com
write_files:
- path: /etc/rancher/k3s/registries.yaml
  permissions: "0600"
  content: |
    mirrors:
      docker.io: {endpoint: ["https://mirror.example.com"]}
runcmd:
- echo hello
growpart:
  devices: [/]
env:
- FOO=bar
bundles:
- targets:
  - run://registry.example.com/tools` + digest + `
stages:
  initramfs:
  - name: before the system starts
    sysctl:
      net.ipv4.ip_forward: "1"
    modules: [br_netfilter]
    files:
    - path: /etc/motd
      permissions: 0644
      owner: 0
      group: 0
      content: |
        Nodes are cast, not patched.
  boot.after:
  - if: '[ -e /etc/motd ]'
    commands: [cat /etc/motd]
    systemctl:
      mask: [apt-daily.timer]
    timesyncd:
      NTP: ntp.example.com
    dns:
      nameservers: [192.0.2.53]
  network:
  - unpack_images:
    - source: registry.example.com/tools` + digest + `
      target: /opt/tools
`

// selfUpdating is what a config may say whose node may change itself.
const selfUpdating = `#cloud-config
config_url: https://config.example.com/nodes.yaml
users:
- name: operator
  ssh_authorized_keys: ["github:operator"]
bundles:
- targets: [run://registry.example.com/tools:latest]
stages:
  reconcile:
  - commands: [kairos-agent upgrade --source oci:registry.example.com/os:latest]
  boot:
  - packages: {upgrade: true}
    downloads: [{url: "https://files.example.com/a", path: /opt/a}]
`
