// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"encoding/base64"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mudler/yip/pkg/plugins"
	"github.com/mudler/yip/pkg/schema"
	"github.com/sirupsen/logrus"
	"github.com/twpayne/go-vfs/v4"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

const (
	// escape is what Ingot writes for two braces. It is the one template that yip may execute.
	escape = `{{"{{"}}`
	// textFile is what the text of a file is written to.
	textFile = "/etc/opt/text"
)

// place is where a person may write a text. cloudConfig is none: it is Kairos' own language.
type place struct {
	set func(in *osfamily.Input, text string)
	// file holds the text and nothing else in the end; empty where the text is a part of something.
	file string
	// word is what an argument of the agent ends with, before the text; empty where the text is none.
	word string
}

// places are all of them, by what a finding about them is called.
func places() map[string]place {
	config := func(set func(c *bootstrapv1.IngotConfigSpec, text string)) place {
		return place{set: func(in *osfamily.Input, text string) { set(&in.Config, text) }}
	}
	from := func(key string) bootstrapv1.ValueSource {
		return bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "texts", Key: key}}
	}
	secret := func(set func(c *bootstrapv1.IngotConfigSpec)) place {
		return place{set: func(in *osfamily.Input, text string) {
			in.Secrets = osfamily.Secrets{"texts": {"text": []byte(text)}}
			set(&in.Config)
		}}
	}
	file := secret(func(c *bootstrapv1.IngotConfigSpec) {
		c.Files = []bootstrapv1.File{{Path: textFile, ContentFrom: from("text")}}
	})
	file.file = textFile
	unit := config(func(c *bootstrapv1.IngotConfigSpec, text string) {
		c.Units = []bootstrapv1.Unit{{Name: "text.service", Contents: text}}
	})
	unit.file = unitFolder + "text.service"
	dropin := config(func(c *bootstrapv1.IngotConfigSpec, text string) {
		c.Units = []bootstrapv1.Unit{{Name: "multipathd.service", Dropins: []bootstrapv1.UnitDropin{{Name: "10-a.conf", Contents: text}}}}
	})
	dropin.file = unitFolder + "multipathd.service.d/10-a.conf"
	arg := config(func(c *bootstrapv1.IngotConfigSpec, text string) {
		c.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: "root-dir", Value: text}}
	})
	arg.word = "root-dir="
	id := place{set: func(in *osfamily.Input, text string) { in.Machine.ProviderID = text }, word: "provider-id="}
	registry := func(set func(r *bootstrapv1.Registry, text string)) place {
		return config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com"}}}}
			set(&c.Registries[0], text)
		})
	}
	return map[string]place{
		"Machine.spec.providerID":          id,
		"metadata.name":                    {set: func(in *osfamily.Input, text string) { in.Machine.Name = text }},
		"Cluster.spec":                     {set: func(in *osfamily.Input, text string) { in.Cluster.EndpointHost = text }},
		"spec.files[0].contentFrom.secret": file,
		"spec.files[0].path": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Files = []bootstrapv1.File{{Path: "/etc/opt/" + text, Content: new("a")}}
		}),
		"spec.units[0].name": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Units = []bootstrapv1.Unit{{Name: text + ".service", Enabled: new(true)}}
		}),
		"spec.units[0].contents":            unit,
		"spec.units[0].dropins[0].contents": dropin,
		"spec.units[0].dropins[0].name": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Units = []bootstrapv1.Unit{{Name: "multipathd.service", Dropins: []bootstrapv1.UnitDropin{{Name: text + ".conf", Contents: "[Unit]\n"}}}}
		}),
		"spec.node.kubeletExtraArgs[0]": arg,
		"spec.node.kubeletExtraArgs[0].name": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: text, Value: "a"}}
		}),
		"spec.node.labels": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Node.Labels = map[string]string{"example.com/a": text}
		}),
		"spec.node.kubelet.systemReserved[memory]": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Node.Kubelet.SystemReserved = map[string]string{"memory": text}
		}),
		"spec.node.kubelet.evictionHard[memory.available]": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Node.Kubelet.EvictionHard = map[string]string{"memory.available": text}
		}),
		"spec.sysctls[kernel.core_pattern]": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Sysctls = map[string]bootstrapv1.SysctlValue{"kernel.core_pattern": bootstrapv1.SysctlValue(text)}
		}),
		"spec.kernelModules[0].parameters": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.KernelModules = []bootstrapv1.KernelModule{{Name: "a", Parameters: []string{"b=" + text}}}
		}),
		"spec.ntp.servers[0]": config(func(c *bootstrapv1.IngotConfigSpec, text string) { c.NTP.Servers = []string{text} }),
		"spec.proxy.httpProxy": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Proxy.HTTPProxy = "http://" + text
		}),
		"spec.proxy.noProxy[0]": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.Proxy = bootstrapv1.ProxySettings{HTTPProxy: "http://proxy.example.com", NoProxy: []string{text}}
		}),
		"spec.additionalTrustBundle": config(func(c *bootstrapv1.IngotConfigSpec, text string) {
			c.AdditionalTrustBundle = osfamily.PlaceholderAuthority + text
		}),
		"spec.registries[0].host": registry(func(r *bootstrapv1.Registry, text string) { r.Host = text }),
		"spec.registries[0].mirrors[0].url": registry(func(r *bootstrapv1.Registry, text string) {
			r.Mirrors[0].URL = "https://mirror.example.com/" + text
		}),
		"spec.registries[0].mirrors[0].credentials.username": {set: func(in *osfamily.Input, text string) {
			in.Secrets = osfamily.Secrets{"texts": {"text": []byte("password")}}
			in.Config.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{
				URL: "https://mirror.example.com", Credentials: bootstrapv1.RegistryCredentials{Username: text, PasswordFrom: from("text")},
			}}}}
		}},
		"spec.registries[0].mirrors[0].credentials.passwordFrom.secret": secret(func(c *bootstrapv1.IngotConfigSpec) {
			c.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{
				URL: "https://mirror.example.com", Credentials: bootstrapv1.RegistryCredentials{Username: "robot", PasswordFrom: from("text")},
			}}}}
		}),
	}
}

// distributions are what images of Kairos carry.
func distributions() []bootstrapv1.KairosDistribution {
	return []bootstrapv1.KairosDistribution{
		bootstrapv1.KairosDistributionK3s, bootstrapv1.KairosDistributionK0s, bootstrapv1.KairosDistributionKubeadm,
	}
}

// tried is an input with a text at a place.
func tried(distribution bootstrapv1.KairosDistribution, at place, text string) osfamily.Input {
	in := osfamilytest.Worker(func(spec *bootstrapv1.IngotConfigSpec) { spec.Kairos.Distribution = distribution })
	at.set(&in, text)
	return in
}

// Whatever a person writes, wherever it may be written, reaches the machine as it was written, or is refused where it stands. yip
// executes templates in the whole configuration when it saves it, and in files, commands and conditions again.
func TestTextsArriveOrAreRefused(t *testing.T) {
	t.Parallel()
	root := vfs.NewPathFS(vfs.OSFS, t.TempDir())
	for _, distribution := range distributions() {
		arrived := map[string]int{}
		for name, at := range places() {
			for _, text := range []string{
				"a", "{", "}}", "{a}", "{{.Values.node.hostname}}", "{{", escape, "{{`{{`}}", "{{{{", "{{/*a*/}}", "{{- 1 -}}", "a {{ fail `b` }} c",
				"[Unit]\nDescription={{.Values.node.hostname}}\n", "[Unit]\nDescription=\"{{\" '{{'\t{{\\\n", "\"{{\"", "'{{'",
			} {
				if arrives(t, root, distribution, name, at, text) && strings.Contains(text, "{{") {
					arrived[name]++
				}
			}
		}
		want := []string{
			"spec.additionalTrustBundle", // between certificates there may be anything
			"spec.files[0].contentFrom.secret", "spec.sysctls[kernel.core_pattern]", "spec.units[0].contents", "spec.units[0].dropins[0].contents",
		}
		if distribution != bootstrapv1.KairosDistributionK0s { // where there are no registries
			want = append(want, "spec.registries[0].mirrors[0].credentials.passwordFrom.secret", "spec.registries[0].mirrors[0].credentials.username")
		}
		if distribution == bootstrapv1.KairosDistributionKubeadm {
			want = append(want, "Machine.spec.providerID", "spec.node.kubeletExtraArgs[0]")
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(arrived)); !slices.Equal(got, want) {
			t.Errorf("%s: templates arrive as they are in %q, want %q", distribution, got, want)
		}
	}
}

// FuzzTextsArrive tries what nobody thought of.
func FuzzTextsArrive(f *testing.F) {
	names := slices.Sorted(maps.Keys(places()))
	for i := range names {
		for _, text := range []string{"a{{b}}", "[Unit]\nDescription={{ `a` }}\n"} {
			f.Add(byte(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, at byte, text string) {
		name, root := names[int(at)%len(names)], vfs.NewPathFS(vfs.OSFS, t.TempDir())
		for _, distribution := range distributions() {
			arrives(t, root, distribution, name, places()[name], text)
		}
	})
}

// arrives is whether a text was taken. It was taken as it is, or refused where it stands. What yip writes goes to root.
func arrives(t *testing.T, root vfs.FS, distribution bootstrapv1.KairosDistribution, name string, at place, text string) bool {
	t.Helper()
	in := tried(distribution, at, text)
	bundle, report := kairos.New().Render(in)
	if err := report.Err(); err != nil {
		where := name
		if parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '[' }); parts[0] == "spec" {
			where = "spec." + parts[1]
		}
		for _, finding := range report {
			if finding.Severity == osfamily.Error && !strings.HasPrefix(finding.Path, where) {
				t.Errorf("%s: %q in %s is refused elsewhere: %v", distribution, text, name, finding)
			}
		}
		return false
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %q in %s: "+format, append([]any{distribution, text, name}, args...)...)
	}
	saved := written(t, root, schema.File{Path: userdata, Content: string(bundle.Data), Permissions: 0o644})
	if saved != string(bundle.Data) {
		fail("yip saves something else than what was delivered:\n%s", saved)
	}
	found := at.file == ""
	for stage, steps := range load(t, saved).Stages {
		for _, step := range steps {
			if as, did := step.Commands, ran(t, step); !slices.Equal(slices.Concat(conditions(step), as), did) {
				fail("in stage %s yip runs %q, and was told %q", stage, did, as)
			}
			for _, file := range step.Files {
				got := written(t, root, file)
				if want := strings.ReplaceAll(decoded(t, file), escape, "{{"); got != want {
					fail("%s holds %q, want %q", file.Path, got, want)
				}
				if file.Path == at.file {
					found = true
					if got != text {
						fail("%s holds %q", file.Path, got)
					}
				}
			}
		}
	}
	if !found {
		fail("nothing writes %s", at.file)
	}
	if at.word != "" && text != "" && distribution != bootstrapv1.KairosDistributionKubeadm && !strings.Contains(arguments(t, saved), at.word+text) {
		fail("the arguments are %q", arguments(t, saved))
	}
	return true
}

// arguments are those of the agent, as Kairos joins them.
func arguments(t *testing.T, config string) string {
	t.Helper()
	type agent struct {
		Args []string `json:"args"`
	}
	var doc struct {
		K3s agent `json:"k3s-agent"`
		K0s agent `json:"k0s-worker"`
	}
	if err := yaml.Unmarshal([]byte(config), &doc); err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Concat(doc.K3s.Args, doc.K0s.Args), " ")
}

// decoded is what a file says before yip executes templates.
func decoded(t *testing.T, file schema.File) string {
	t.Helper()
	switch file.Encoding {
	case "":
		return file.Content
	case "b64":
		data, err := base64.StdEncoding.DecodeString(file.Content)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	t.Fatalf("%s is encoded as %s", file.Path, file.Encoding)
	return ""
}

// written is what yip makes of a file. It is written to another path: this is not about folders.
func written(t *testing.T, root vfs.FS, file schema.File) string {
	t.Helper()
	file.Path = "/file"
	if err := plugins.EnsureFiles(quiet(), schema.Stage{Files: []schema.File{file}}, root, nil); err != nil {
		t.Fatal(err)
	}
	data, err := root.ReadFile(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// ran are the commands that yip runs for a step, its condition first.
func ran(t *testing.T, step schema.Stage) []string {
	t.Helper()
	var console recorder
	if err := errors.Join(plugins.IfConditional(quiet(), step, vfs.OSFS, &console), plugins.Commands(quiet(), step, vfs.OSFS, &console)); err != nil {
		t.Fatal(err)
	}
	return console
}

func conditions(step schema.Stage) []string {
	if step.If == "" {
		return nil
	}
	return []string{step.If}
}

func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	return log
}

// recorder is a console that runs nothing.
type recorder []string

// Run implements yip's console.
func (r *recorder) Run(command string, _ ...func(*exec.Cmd)) (string, error) {
	*r = append(*r, command)
	return "", nil
}

// Start implements yip's console.
func (*recorder) Start(*exec.Cmd, ...func(*exec.Cmd)) error { return errors.New("nothing starts here") }

// RunTemplate implements yip's console.
func (*recorder) RunTemplate([]string, string) error { return errors.New("nothing starts here") }
