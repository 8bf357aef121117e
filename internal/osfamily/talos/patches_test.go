// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos_test

import (
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
)

// document is a patch of one document of newer releases.
func document(kind, rest string) string { return "apiVersion: v1alpha1\nkind: " + kind + "\n" + rest }

// refusal is a patch that must not get through, and a word that the finding must have.
type refusal struct{ name, patch, says string }

// everyRelease are refused whatever the release.
func everyRelease() []refusal {
	return []refusal{
		{"another host name", document("HostnameConfig", "hostname: other\n"), "HostnameConfig"},
		{"no host name", document("HostnameConfig", "$patch: delete\n"), "HostnameConfig"},
		{"another role", "machine: {type: init}", "machine.type"},
		{"another token", "machine: {token: abcdef.0123456789abcdef}", "secret"},
		{"another endpoint", "cluster: {controlPlane: {endpoint: \"https://192.0.2.99:6443\"}}", "endpoint"},
		{"another cluster", "cluster: {clusterName: other}", "clusterName"},
		{"another authority", "cluster: {acceptedCAs: [{crt: aGVsbG8=}]}", "cluster.acceptedCAs"},
		{"another image", "machine: {install: {image: \"installer.example.com/installer:v1.14.2\", disk: /dev/sda}}", "machine.install"},
		{"somebody else's remote control", document("SideroLinkConfig", "apiUrl: https://siderolink.example.com/\n"), "SideroLinkConfig"},
		{"a network of its own", "machine: {network: {kubespan: {enabled: true}}}", "kubespan"},
		{"a document that nobody knows", document("NoSuchConfig", "name: x\n"), "NoSuchConfig"},
		{"a field that nobody knows", "machine: {nosuchfield: 1}", "nosuchfield"},
		{"a JSON patch", `[{"op": "add", "path": "/machine/sysctls", "value": {}}]`, "patch"},
		{"what is no YAML", "machine: [", "patch"},
		{"the login of a registry", document("RegistryAuthConfig", "name: registry.example.com\nusername: robot\npassword: hunter2-hunter2\n"), "secret"},
	}
}

// byRelease are what only some releases have words for.
func byRelease(contract bootstrapv1.TalosContract) []refusal {
	if contract == "1.14" {
		return []refusal{
			{"another identity in the kubelet's document", document("KubeletConfig", "extraArgs: {provider-id: \"other://1\"}\n"), "provider-id"},
			{"another kubelet", document("KubeletConfig", "image: kubelet.example.com/kubelet:v1.30.0\n"), "Machine.spec.version"},
			{"Pods that upgrade the system", document("KubeTalosAPIAccessConfig", "allowedRoles: [os:admin]\nallowedKubernetesNamespaces: [kube-system]\n"), "KubeTalosAPIAccessConfig"},
			{"a container of which nobody knows what it runs", document("ContainerConfig", "name: web\nimage: docker.io/library/nginx:1.27\n"), "NAME@sha256:DIGEST"},
			{"a setting in the words of an older release", "machine: {kubelet: {extraArgs: {v: \"4\"}}}", "already set"},
		}
	}
	refusals := []refusal{
		{"another identity", "machine: {kubelet: {extraArgs: {provider-id: \"other://1\"}}}", "provider-id"},
		{"another kubelet", "machine: {kubelet: {image: \"kubelet.example.com/kubelet:v1.30.0\"}}", "Machine.spec.version"},
		{"Pods that upgrade the system", "machine: {features: {kubernetesTalosAPIAccess: {enabled: true, allowedRoles: [os:admin], allowedKubernetesNamespaces: [kube-system]}}}", "kubernetesTalosAPIAccess"},
		{"a document of a later release", document("KubeletConfig", "extraArgs: {v: \"4\"}\n"), "later release"},
	}
	if contract == "1.12" {
		refusals = append(refusals, refusal{"a document of the next release", document("EnvironmentConfig", "variables: {A: b}\n"), "later release"})
	}
	return refusals
}

// A patch is judged by what comes of it. Each of these would make a machine that is not what other objects say, that never
// joins, or that becomes another one later. The finding stands at the patch, and says what is wrong with it.
func TestPatchesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, contract := range contracts() {
		for _, r := range append(everyRelease(), byRelease(contract)...) {
			for _, role := range []bootstrapv1.Role{bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker} {
				t.Run(string(contract)+"/"+string(role)+"/"+r.name, func(t *testing.T) {
					t.Parallel()
					in := osfamilytest.Node(role, suite(contract).Select)
					in.Config.Talos.Patches = []string{r.patch}
					bundle, report := talos.New().Render(in)
					if report.Err() == nil || len(bundle.Data) > 0 {
						t.Fatalf("not refused: %v", report)
					}
					text := report.Err().Error()
					if !strings.Contains(text, "spec.talos.patches") || !strings.Contains(text, r.says) {
						t.Errorf("the report lacks its path or %q: %s", r.says, text)
					}
					if strings.Contains(text, "hunter2") {
						t.Errorf("a secret is quoted: %s", text)
					}
				})
			}
		}
	}
}

// Our machinery knows fields that images of older releases do not, and such a machine does not come up.
func TestFieldsOfLaterReleases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		since       bootstrapv1.TalosContract
		field, text string
	}{
		{"1.13", "OOMConfig.strictCgroupClassOrdering", document("OOMConfig", "strictCgroupClassOrdering: false\n")},
		{"1.14", "DHCPv4Config.ignoreRoutes", document("DHCPv4Config", "name: eth0\nignoreRoutes: true\n")},
		{"1.14", "TimeSyncConfig.ntp.useNTS", document("TimeSyncConfig", "ntp: {servers: [time.example.com], useNTS: true}\n")},
		{"1.14", "ResolverConfig.nameservers.protocol", document("ResolverConfig", "nameservers: [{address: 192.0.2.53}, {address: 192.0.2.54, protocol: DoT, tlsServerName: dns.example.com}]\n")},
		{"1.14", "DHCPv4Config.ignoreRoutes", document("DHCPv4Config", "name: eth0\n") + "---\n" + document("DHCPv4Config", "name: eth1\nignoreRoutes: true\n")},
		{"1.12", "", document("DHCPv4Config", "name: eth0\nignoreHostname: true\n")},
	} {
		for _, contract := range contracts() {
			in := osfamilytest.Worker(suite(contract).Select)
			in.Config.Talos.Patches = []string{c.text}
			_, report := talos.New().Render(in)
			err := report.Err()
			if contract >= c.since {
				if err != nil {
					t.Errorf("%s refuses what it knows: %v", contract, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), c.field+" came with Talos "+string(c.since)) || !strings.Contains(err.Error(), "spec.talos.patches[0]") {
				t.Errorf("%s, which does not know %s: %v", contract, c.field, err)
			}
		}
	}
}

// What a container runs is as much part of a machine as its image.
func TestContainers(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for image, accepted := range map[string]bool{
		"docker.io/library/nginx:1.27" + digest: true,
		"docker.io/library/nginx" + digest:      true,
		"docker.io/library/nginx:1.27":          false,
		"nginx":                                 false,
		"nginx@sha256:0123":                     false,
	} {
		for _, selfUpdate := range []bootstrapv1.SelfUpdate{"", bootstrapv1.SelfUpdateAllowed} {
			in := osfamilytest.Worker(suite("1.14").Select)
			in.Config.SelfUpdate = selfUpdate
			in.Config.Talos.Patches = []string{document("ContainerConfig", "name: web\nimage: "+image+"\n")}
			_, report := talos.New().Render(in)
			lifted := selfUpdate == bootstrapv1.SelfUpdateAllowed && image != "nginx@sha256:0123" // which is no name of an image at all
			if (report.Err() == nil) != (accepted || lifted) {
				t.Errorf("%s with self update %q: %v", image, selfUpdate, report.Err())
			}
		}
	}
}

// Guard rails are the user's to take down, when the spec says so.
func TestPatchesThatSelfUpdateAllows(t *testing.T) {
	t.Parallel()
	for _, contract := range contracts() {
		in := osfamilytest.Worker(suite(contract).Select)
		in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		in.Config.Talos.Patches = []string{document("SideroLinkConfig", "apiUrl: https://siderolink.example.com/\n")}
		bundle, report := talos.New().Render(in)
		if err := report.Err(); err != nil || !strings.Contains(string(bundle.Data), "siderolink.example.com") {
			t.Errorf("%s: %v", contract, err)
		}
	}
}

// An image decides the release, and a contract may only be older.
func TestReleaseOfTheImage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		image    string
		contract bootstrapv1.TalosContract
		path     string // of the Error; empty where there is none
		small    bool   // whether the documents are those of 1.14
	}{
		{image: "v1.14.1", small: true},
		{image: "1.13.7"},
		{image: "v1.14.1", contract: "1.13"},
		{contract: "1.14", small: true},
		{image: "v1.13.7", contract: "1.14", path: "spec.talos.contract"},
		{path: "spec.talos.contract"},
		{image: "v1.11.0", path: "NodeImage.spec.os.version"},
		{image: "v1.15.0", path: "NodeImage.spec.os.version"},
		{image: "latest", path: "NodeImage.spec.os.version"},
	} {
		in := osfamilytest.Worker(suite(c.contract).Select)
		in.Image = osfamily.Image{OSVersion: c.image}
		bundle, report := talos.New().Render(in)
		err := report.Err()
		switch {
		case c.path == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.path != "" && (err == nil || !strings.Contains(err.Error(), c.path)):
			t.Errorf("%+v: want an Error at %s, got %v", c, c.path, err)
		case c.path == "" && strings.Contains(string(bundle.Data), "kind: KubeletConfig") != c.small:
			t.Errorf("%+v: documents of another release", c)
		}
	}
}

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite("1.14")) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite("1.14")) }

func FuzzPatches(f *testing.F) {
	var seeds []string
	for _, r := range append(everyRelease(), byRelease("1.14")...) {
		seeds = append(seeds, r.patch)
	}
	osfamilytest.FuzzText(f, suite("1.14"), func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Talos.Patches = []string{text} }, seeds...)
}

func BenchmarkRender(b *testing.B) {
	for _, contract := range contracts() {
		b.Run(string(contract), func(b *testing.B) { osfamilytest.Benchmark(b, suite(contract)) })
	}
}

// BenchmarkRenderThousand renders a thousand control plane machines of one cluster, whose secrets were made once.
func BenchmarkRenderThousand(b *testing.B) {
	for _, contract := range contracts() {
		s := suite(contract)
		b.Run(string(contract), func(b *testing.B) {
			osfamilytest.BenchmarkFleet(b, s, 1000, osfamilytest.Node(bootstrapv1.RoleControlPlane, s.Select))
		})
	}
}
