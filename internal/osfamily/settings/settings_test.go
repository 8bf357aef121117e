// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// otherFields are the fields of a config that are no settings of this package: each family judges them itself, or the
// reconciler does.
func otherFields() []string {
	return []string{
		"spec.role", "spec.restoreFrom", "spec.controlPlane", "spec.selfUpdate", "spec.joinTimeoutSeconds",
		"spec.node.labels", "spec.node.annotations", "spec.node.taints", "spec.node.kubeletExtraArgs",
		"spec.ignition", "spec.cloudInit", "spec.talos", "spec.bottlerocket", "spec.kairos", // operating system blocks
	}
}

// partOf are the fields that say nothing alone: each is a part of the setting whose name its path begins with, and every
// family that renders the setting renders the field.
func partOf() []string {
	return []string{
		"spec.registries[].host", "spec.registries[].mirrors[].url", "spec.kernelModules[].name",
		"spec.files[].path", "spec.files[].permissions", "spec.files[].content",
		"spec.units[].name", "spec.units[].contents", "spec.units[].enabled",
		"spec.units[].dropins[].name", "spec.units[].dropins[].contents",
	}
}

// Whoever adds a field to the config must say which setting it is, or a family that does not know it would drop it. Each
// field is set alone here, and must be seen as a setting of its own, or be listed as a part of one.
func TestEveryFieldIsASetting(t *testing.T) {
	var seen []settings.Setting
	each(reflect.TypeFor[bootstrapv1.IngotConfigSpec](), "spec", func(path string, spec bootstrapv1.IngotConfigSpec) {
		uses := settings.Uses(spec)
		for _, use := range uses {
			seen = append(seen, use.Setting)
		}
		if slices.Contains(partOf(), path) {
			return
		}
		if !slices.ContainsFunc(uses, func(use settings.Use) bool { return isField(path, string(use.Setting)) }) {
			t.Errorf("%s is no setting, and no part of one: %v", path, uses)
		}
	})
	seen = append(seen, settings.RegistryAny, settings.DiskEncryptionNodeID) // values, no fields
	for _, setting := range settings.All() {
		if !slices.Contains(seen, setting) {
			t.Errorf("%s is the setting of no field", setting)
		}
	}
	for _, setting := range seen {
		if !slices.Contains(settings.All(), setting) {
			t.Errorf("%s is not listed", setting)
		}
	}
}

// isField is whether a path is the field of a setting, or in what the field refers to.
func isField(path, setting string) bool {
	return strings.TrimSuffix(path, "[]") == setting ||
		(strings.HasSuffix(setting, "credentials") || strings.HasSuffix(setting, "contentFrom")) && strings.HasPrefix(path, setting+".")
}

// A reference that the reconciler does not know of would be rendered as nothing.
func TestEveryReferenceIsListed(t *testing.T) {
	found := 0
	each(reflect.TypeFor[bootstrapv1.IngotConfigSpec](), "spec", func(path string, spec bootstrapv1.IngotConfigSpec) {
		if !strings.HasSuffix(path, ".secret.name") {
			return
		}
		found++
		references := settings.References(spec)
		want := strings.ReplaceAll(strings.TrimSuffix(path, ".name"), "[]", "[0]")
		if len(references) != 1 || references[0].Path != want {
			t.Errorf("%s is listed as %v", want, references)
		}
	})
	if found < 3 {
		t.Errorf("%d references found: they are not looked for where they are", found)
	}
}

// each visits every leaf of the type, but other fields, with a config in which it alone is set. Lists and maps have one entry.
func each(of reflect.Type, path string, visit func(path string, spec bootstrapv1.IngotConfigSpec)) {
	for _, leaf := range leaves(of, path, nil) {
		if slices.ContainsFunc(otherFields(), func(other string) bool {
			return leaf.path == other || strings.HasPrefix(leaf.path, other+".") || strings.HasPrefix(leaf.path, other+"[")
		}) {
			continue
		}
		var spec bootstrapv1.IngotConfigSpec
		leaf.set(reflect.ValueOf(&spec).Elem())
		visit(leaf.path, spec)
	}
}

type leaf struct {
	path string
	set  func(root reflect.Value)
}

func leaves(of reflect.Type, path string, above func(reflect.Value) reflect.Value) []leaf {
	if above == nil {
		above = func(v reflect.Value) reflect.Value { return v }
	}
	switch of.Kind() {
	case reflect.Struct:
		var out []leaf
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			out = append(out, leaves(of.Field(i).Type, path+"."+name, func(v reflect.Value) reflect.Value { return above(v).Field(i) })...)
		}
		if of.NumField() > 0 {
			return out
		}
	case reflect.Slice:
		return leaves(of.Elem(), path+"[]", func(v reflect.Value) reflect.Value {
			list := above(v)
			if list.Len() == 0 {
				list.Set(reflect.MakeSlice(of, 1, 1))
			}
			return list.Index(0)
		})
	case reflect.Pointer:
		return leaves(of.Elem(), path, func(v reflect.Value) reflect.Value {
			pointer := above(v)
			if pointer.IsNil() {
				pointer.Set(reflect.New(of.Elem()))
			}
			return pointer.Elem()
		})
	case reflect.Map:
		return []leaf{{path, func(root reflect.Value) {
			above(root).Set(reflect.MakeMap(of))
			above(root).SetMapIndex(reflect.ValueOf("a").Convert(of.Key()), reflect.ValueOf("1").Convert(of.Elem()))
		}}}
	default:
	}
	return []leaf{{path, func(root reflect.Value) {
		switch field := above(root); field.Kind() {
		case reflect.String:
			field.SetString("a")
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Int32, reflect.Int64:
			field.SetInt(1)
		default: // a struct without fields says what it says by being there
		}
	}}}
}

// What a family does not answer for is refused where it is used, and what it refuses comes with its reason.
func TestCheckRefusesWhatIsNotRendered(t *testing.T) {
	in := osfamily.Input{Config: bootstrapv1.IngotConfigSpec{
		Sysctls: map[string]bootstrapv1.SysctlValue{"vm.swappiness": "1"},
		NTP:     bootstrapv1.NTPSettings{Servers: []string{"ntp.example.com"}},
		Files: []bootstrapv1.File{
			{Path: "/etc/a", Content: new("a")},
			{Path: "/etc/b", Content: new("b"), Append: new(true)},
		},
	}}
	table := settings.Support{
		settings.Sysctls:    settings.Rendered(),
		settings.Files:      settings.Rendered(),
		settings.NTPServers: settings.Refused("it has no clock: remove ntp"),
	}
	var report osfamily.Report
	settings.Check(&report, ingotv1.OSFamilyGeneric, table, in)
	got := fmt.Sprint(report)
	want := "[spec.ntp.servers: is not rendered for images of the family Generic: it has no clock: remove ntp" +
		" spec.files[1].append: is not rendered for images of the family Generic by this version of Ingot: remove it]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	report = nil
	settings.Check(&report, ingotv1.OSFamilyGeneric, settings.RendersAll(), in)
	if len(report) > 0 {
		t.Errorf("what is rendered was refused: %v", report)
	}
}

// Whatever the schema refuses is refused here as well, and more. The paths are those of the user's document.
func TestCheckFindsWhatNoSystemCouldTake(t *testing.T) {
	const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	ref := bootstrapv1.RegistryCredentials{Username: "a", PasswordFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "s", Key: "k"}}}
	registry := func(r bootstrapv1.Registry) func(*osfamily.Input) {
		return func(in *osfamily.Input) { in.Config.Registries = []bootstrapv1.Registry{r} }
	}
	mirrors := func(m ...bootstrapv1.RegistryMirror) func(*osfamily.Input) {
		return registry(bootstrapv1.Registry{Host: "docker.io", Mirrors: m})
	}
	files := func(f ...bootstrapv1.File) func(*osfamily.Input) {
		return func(in *osfamily.Input) { in.Config.Files = f }
	}
	units := func(u ...bootstrapv1.Unit) func(*osfamily.Input) {
		return func(in *osfamily.Input) { in.Config.Units = u }
	}
	content := new("")
	for _, tc := range []struct {
		why, want string
		change    func(*osfamily.Input)
	}{
		{"all Pods of a node", "spec.node.kubelet.maxPods: must be at least 1", func(in *osfamily.Input) { in.Config.Node.Kubelet.MaxPods = ptr.To[int32](0) }},
		{"a part without a whole", "spec.node.kubelet.shutdownGracePeriodCriticalPodsSeconds: is a part", func(in *osfamily.Input) {
			in.Config.Node.Kubelet.ShutdownGracePeriodCriticalPodsSeconds = ptr.To[int32](5)
		}},
		{"a number of processes with a unit", "spec.node.kubelet.kubeReserved[pid]: \"1k\"", func(in *osfamily.Input) { in.Config.Node.Kubelet.KubeReserved = map[string]string{"pid": "1k"} }},
		{"less than nothing", "spec.node.kubelet.evictionHard[memory.available]: \"-1Mi\"", func(in *osfamily.Input) {
			in.Config.Node.Kubelet.EvictionHard = map[string]string{"memory.available": "-1Mi"}
		}},
		{"not a number of percent", "spec.node.kubelet.evictionHard[nodefs.available]: \"NaN%\"", func(in *osfamily.Input) {
			in.Config.Node.Kubelet.EvictionHard = map[string]string{"nodefs.available": "NaN%"}
		}},
		{"a port that is none", "spec.registries[0].host:", registry(bootstrapv1.Registry{Host: "a.example:99999", CertificateAuthority: pem})},
		{"a folder that leads elsewhere", "spec.registries[0].host:", registry(bootstrapv1.Registry{Host: "..", Credentials: ref})},
		{"nothing to pull from", "spec.registries[0].skipFallback: without mirrors", registry(bootstrapv1.Registry{Host: "a.example", SkipFallback: new(true), CertificateAuthority: pem})},
		{"a certificate that is broken", "spec.registries[0].certificateAuthority: certificate 1 cannot be read", registry(bootstrapv1.Registry{Host: "a.example", CertificateAuthority: pem})},
		{"the same twice", "spec.registries[0].mirrors[1].url: is listed twice", mirrors(bootstrapv1.RegistryMirror{URL: "https://a.example"}, bootstrapv1.RegistryMirror{URL: "https://a.example"})},
		{"a query is lost", "spec.registries[0].mirrors[0].url:", mirrors(bootstrapv1.RegistryMirror{URL: "https://a.example/?ns=b"})},
		{"a user with a colon is another user", "spec.registries[0].credentials.username:", registry(bootstrapv1.Registry{Host: "a.example", Credentials: bootstrapv1.RegistryCredentials{Username: "a:b", PasswordFrom: ref.PasswordFrom}})},
		{"an empty password", "spec.registries[0].credentials.passwordFrom.secret: the value is empty", func(in *osfamily.Input) {
			registry(bootstrapv1.Registry{Host: "a.example", Credentials: ref})(in)
			in.Secrets = osfamily.Secrets{"s": {"k": nil}}
		}},
		{"what a proxy would be for", "spec.proxy.noProxy: says what goes past a proxy", func(in *osfamily.Input) { in.Config.Proxy.NoProxy = []string{"a"} }},
		{"modules that the kernel takes for one", "spec.kernelModules[1].name: dm-crypt is listed twice", func(in *osfamily.Input) {
			in.Config.KernelModules = []bootstrapv1.KernelModule{{Name: "dm_crypt"}, {Name: "dm-crypt"}}
		}},
		{"a file in a file", `spec.files[1].path: "/etc/a" and "/etc/a/b" cannot both be files`, files(bootstrapv1.File{Path: "/etc/a", Content: content}, bootstrapv1.File{Path: "/etc/a/b", Content: content})},
		{"a line break in a path", "spec.files[0].path:", files(bootstrapv1.File{Path: "/etc/a\n", Content: content})},
		{"bits that nobody reviewed", "spec.files[0].permissions:", files(bootstrapv1.File{Path: "/etc/a", Content: content, Permissions: "4755"})},
		{"a drop-in that systemd does not read", "spec.units[0].dropins[0].name:", units(bootstrapv1.Unit{Name: "a.service", Dropins: []bootstrapv1.UnitDropin{{Name: "a", Contents: "[Unit]\n"}}})},
		{"an assignment that systemd ignores", "spec.units[0].dropins[0].contents:", units(bootstrapv1.Unit{Name: "a.service", Dropins: []bootstrapv1.UnitDropin{{Name: "a.conf", Contents: "A=b\n[Unit]\n"}}})},
		{"a key that nobody has", `spec.diskEncryption.key: "Passphrase" is not known`, func(in *osfamily.Input) { in.Config.DiskEncryption.Key = "Passphrase" }},
		{"a key for a TPM that is not there", "spec.diskEncryption.key: the machine has no TPM", func(in *osfamily.Input) {
			in.Config.DiskEncryption.Key, in.Machine.NoTPM = bootstrapv1.DiskKeyTPM2, true
		}},
		{"a unit of which nothing is said", "spec.units[0]: says nothing", units(bootstrapv1.Unit{Name: "a.service"})},
	} {
		t.Run(tc.why, func(t *testing.T) {
			var in osfamily.Input
			tc.change(&in)
			var report osfamily.Report
			settings.Check(&report, ingotv1.OSFamilyGeneric, settings.RendersAll(), in)
			if err := report.Err(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an Error that says %s", err, tc.want)
			}
		})
	}
}
