// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"encoding/base64"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

const unitFolder = "/etc/systemd/system/"

func selectKubeadm(spec *bootstrapv1.IngotConfigSpec) {
	spec.Kairos.Distribution = bootstrapv1.KairosDistributionKubeadm
}

func kubeadmSuite() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:   kairos.New(),
		Format:   ingotv1.BootstrapFormatCloudConfig,
		Select:   selectKubeadm,
		Validate: kairos.Validate,
		Readable: func(data []byte) (string, error) { return string(data), nil },
		SelfUpdateOff: func(data []byte) bool {
			node, err := readNode(data)
			return err == nil && selfUpdateOff(data) && kubeadmtest.SelfUpdateOff(node)
		},
		Refuses:  refusedByKubeadm(),
		Testdata: "testdata/kubeadm",
		Support:  kairos.Support(bootstrapv1.KairosDistributionKubeadm),
		Own:      kubeadmCases(),
		Digests:  regexp.MustCompile(`[0-9a-f]{64}  /`),
	}
}

func nodeSuite() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: kairos.New(), Select: selectKubeadm, Read: readNode, Refuses: refusedByKubeadm()}
}

// refusedByKubeadm are the cases that fetch something.
func refusedByKubeadm() map[string]string {
	return map[string]string{"init-restore": "spec.restoreFrom", "init-restore-own-authority": "spec.restoreFrom"}
}

func kubeadmCases() []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path string, change func(*osfamily.Input)) {
		in := osfamilytest.Worker(selectKubeadm)
		change(&in)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	hatch := func(text string) func(*osfamily.Input) {
		return func(in *osfamily.Input) { in.Config.Kairos.CloudConfig = text }
	}
	add("worker-cloud-config", "what the user adds comes beside, and in lists after, what Ingot sets", "", hatch(everything))
	add("worker-braces", "files that hold what yip would take for templates, and what YAML has no words for", "", func(in *osfamily.Input) {
		in.Secrets = osfamily.Secrets{"agent": {"key": {0, 0xff, '{', '{', '{', '\n'}}}
		in.Config.Files = []bootstrapv1.File{
			{Path: "/etc/opt/braces.conf", Content: new("a {{ .Values.node.hostname }} {{{b}}} {{- c -}}\n# $x %h\n")},
			{Path: "/etc/opt/template.conf", Content: new("host {{ .Values.node.hostname }}\n")},
			{Path: "/etc/services", Content: new("a {{ b }}"), Append: new(true)},
			{Path: "/etc/opt/key", ContentFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "agent", Key: "key"}}},
		}
	})
	for why, text := range map[string]string{
		"what kubeadm reads":                     "write_files: [{path: /etc/ingot/kubeadm.yaml, content: a}]\n",
		"a static Pod":                           "stages: {boot: [{files: [{path: /etc/kubernetes/manifests/a.yaml, content: a}]}]}\n",
		"a drop-in of what runs kubeadm":         "stages: {boot: [{systemctl: {overrides: [{service: ingot-bootstrap, content: a}]}}]}\n",
		"hosts, to which Ingot adds":             "write_files: [{path: /etc/hosts, content: a}]\n",
		"the layout that says what is kept":      "stages: {rootfs: [{environment_file: /run/cos/cos-layout.env, environment: {CUSTOM_BIND_MOUNTS: /a}}]}\n",
		"a cluster that the plug-in would make":  "cluster: {role: init}\n",
		"a drop-in against what reconciles":      "stages: {boot: [{files: [{path: /etc/systemd/system/cos-setup-reconcile.timer.d/a.conf}]}]}\n",
		"the drop-in that has the machine prove": "write_files: [{path: /etc/systemd/system/ingot-bootstrap.service.d/10-ingot-kairos.conf}]\n",
	} {
		add("a cloud-config that writes "+why, "", configPath, hatch(text))
	}
	for _, name := range []string{"cos-setup-reconcile.timer", "apt-daily.timer"} {
		add("the unit "+name, "", "spec.units[0].name", func(in *osfamily.Input) { in.Config.Units = []bootstrapv1.Unit{{Name: name, Enabled: new(true)}} })
	}
	add("a file that is further configuration", "", "spec.files[0].path", func(in *osfamily.Input) {
		in.Config.Files = []bootstrapv1.File{{Path: "/oem/99_mine.yaml", Content: new("a")}}
	})
	return cases
}

func TestKubeadmConformance(t *testing.T) { osfamilytest.Run(t, kubeadmSuite()) }

func TestKubeadmNode(t *testing.T) { kubeadmtest.Run(t, nodeSuite()) }

func FuzzRenderKubeadm(f *testing.F) { osfamilytest.Fuzz(f, kubeadmSuite()) }

func FuzzSettingsKubeadm(f *testing.F) { osfamilytest.FuzzSettings(f, kubeadmSuite()) }

func FuzzCloudConfigKubeadm(f *testing.F) {
	osfamilytest.FuzzText(f, kubeadmSuite(), func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Kairos.CloudConfig = text },
		everything, selfUpdating, "#cloud-config\na: &a [*a]\n", "cluster: {role: init}\n", "stages: {rootfs: [{environment_file: /run/cos/cos-layout.env}]}\n")
}

func BenchmarkRenderKubeadm(b *testing.B) { osfamilytest.Benchmark(b, kubeadmSuite()) }

// A token, a key or a configuration that is written again when the machine boots again would undo what its cluster did since.
func TestWhatMakesTheNodeIsWrittenUntilItIsMade(t *testing.T) {
	for _, name := range []string{"init", "control-plane", "worker"} {
		doc := decode(t, nodeSuite().Render(t, nodeSuite().Input(t, name)))
		found := false
		for _, step := range doc.Stages["initramfs"] {
			for _, f := range step.Files {
				once := strings.Contains(step.If, "! -e /etc/kubernetes/kubelet.conf")
				makes := f.Path == "/etc/ingot/kubeadm.yaml" || strings.HasPrefix(f.Path, "/etc/kubernetes/")
				if found = found || makes; makes && !once {
					t.Errorf("%s: %s is written again at every boot", name, f.Path)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing makes the node, so this test proves nothing", name)
		}
	}
}

// A recovery system keeps nothing, and an installer is another machine: whatever runs there would begin a cluster anew.
func TestNothingIsDoneWhereKairosIsNotInstalled(t *testing.T) {
	doc := decode(t, nodeSuite().Render(t, nodeSuite().Input(t, "init-full")))
	for name, steps := range doc.Stages {
		for _, step := range steps {
			if !strings.Contains(step.If, "/run/cos/active_mode") {
				t.Errorf("step %q of stage %s is done everywhere", step.Name, name)
			}
		}
	}
}

// Only kubeadm reads from its cluster what it runs.
func TestDeclarations(t *testing.T) {
	in := nodeSuite().Input(t, "control-plane")
	if len(kairos.New().Declarations(in)) == 0 {
		t.Error("a control plane node of kubeadm joins as what the first one was")
	}
	in.Config.Kairos.Distribution = bootstrapv1.KairosDistributionK3s
	if len(kairos.New().Declarations(in)) > 0 {
		t.Error("k3s reads nothing of kubeadm")
	}
}

// step is a step as this test looks at it.
type step struct {
	Name, If  string
	Commands  []string
	Systemctl struct{ Enable []string }
	Files     []struct {
		Path, Content, Encoding string
		Permissions             uint32
	}
}

type kubeadmDocument struct {
	Hostname string
	Stages   map[string][]step
}

func decode(t *testing.T, data []byte) kubeadmDocument {
	t.Helper()
	var doc kubeadmDocument
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// readNode reads the node back that Ingot's own steps describe.
func readNode(data []byte) (kubeadm.Node, error) {
	var doc kubeadmDocument
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return kubeadm.Node{}, err
	}
	node := kubeadm.Node{Hostname: doc.Hostname}
	for _, s := range doc.Stages["initramfs"] {
		if !strings.HasPrefix(s.Name, "Ingot: ") {
			continue
		}
		for _, f := range s.Files {
			content := f.Content
			if f.Encoding == "b64" {
				decoded, err := base64.StdEncoding.DecodeString(content)
				if err != nil {
					return kubeadm.Node{}, err
				}
				content = string(decoded)
			}
			content = strings.ReplaceAll(content, `{{"{{"}}`, "{{")
			addFile(&node, kubeadm.File{Path: f.Path, Mode: fs.FileMode(f.Permissions), Data: []byte(content)})
		}
		for _, name := range s.Systemctl.Enable {
			unitOf(&node, name).Enabled = true
		}
		for _, command := range s.Commands {
			if names, is := strings.CutPrefix(command, "for unit in "); is {
				names, _, _ = strings.Cut(names, ";")
				for name := range strings.FieldsSeq(names) {
					unitOf(&node, name).Masked = true
				}
			}
		}
	}
	return node, nil
}

// addFile adds a file, a text that is added to one, a unit or a drop-in.
func addFile(node *kubeadm.Node, f kubeadm.File) {
	if added, is := strings.CutPrefix(f.Path, "/etc/ingot/append/"); is {
		f.Path, f.Append = "/"+added, true
	}
	unit, isUnit := strings.CutPrefix(f.Path, unitFolder)
	if !isUnit {
		node.Files = append(node.Files, f)
		return
	}
	if folder, dropin := path.Split(unit); folder != "" {
		u := unitOf(node, strings.TrimSuffix(folder, ".d/"))
		if u.Dropins == nil {
			u.Dropins = map[string]string{}
		}
		u.Dropins[dropin] = string(f.Data)
		return
	}
	unitOf(node, unit).Contents = string(f.Data)
}

func unitOf(node *kubeadm.Node, name string) *kubeadm.Unit {
	for i := range node.Units {
		if node.Units[i].Name == name {
			return &node.Units[i]
		}
	}
	node.Units = append(node.Units, kubeadm.Unit{Name: name})
	return &node.Units[len(node.Units)-1]
}

// The machine reports what Kairos says of itself beside the os-release of the distribution below. How the report reaches the
// cluster is tested where a real curl is: with the family Generic, which shares the script.
func TestRealShellReadsWhatKairosIs(t *testing.T) {
	script := ""
	for _, f := range nodeSuite().Node(t, nodeSuite().Input(t, "worker-identity-report")).Files {
		if f.Path == kubeadm.IdentityPath {
			script, _, _ = strings.Cut(string(f.Data), "server=")
		}
	}
	root := t.TempDir()
	for name, content := range map[string]string{
		"/usr/lib/os-release": "ID=ubuntu\nVERSION_ID=\"24.04\"\n", "/proc/sys/kernel/random/boot_id": "b00t-1d\n",
		"/etc/kairos-release": "KAIROS_VERSION_ID=\"other\"\nKAIROS_VERSION=\"v4.2.0\"\nKAIROS_FLAVOR=\"ubuntu\"\n",
	} {
		moved := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(moved, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		script = strings.ReplaceAll(script, name, root+name)
	}
	run := exec.CommandContext(t.Context(), "sh")
	run.Stdin = strings.NewReader(script + `echo "$identity"`)
	out, err := run.CombinedOutput()
	if want := "boot=b00t-1d ID=ubuntu VERSION_ID=24.04 KAIROS_VERSION=v4.2.0 KAIROS_FLAVOR=ubuntu\n"; err != nil || string(out) != want {
		t.Errorf("the machine says %q (%v), want %q", out, err, want)
	}
}
