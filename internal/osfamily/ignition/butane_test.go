// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignition_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

const snippet = `
storage:
  files:
  - path: /etc/a
    mode: 0600
    contents: {inline: "100 % ä\n"}
  directories:
  - path: /etc/b
  links:
  - path: /etc/c
    target: a
  filesystems:
  - device: /dev/vdb
    path: /var/lib/data
    format: ext4
    with_mount_unit: true
  - device: /dev/vdc
    path: /var/lib/scratch
    format: ext4
systemd:
  units:
  - name: d.service
    dropins: [{name: 10.conf, contents: "[Service]\n"}]
  - name: etc-x.mount
    contents: |
      [Mount]
      Where=/etc/x
passwd:
  users: [{name: e}]
  groups: [{name: f}]
ignition:
  timeouts: {http_total: 5}
  proxy: {https_proxy: "https://proxy.example.com"}
kernel_arguments: {should_exist: [quiet], should_not_exist: [verbose]}
`

// Whatever decides if two configurations fit together reads the parts, so none may be missing, and each must be where
// Ignition will write it.
func TestPartsNameEverything(t *testing.T) {
	addition, problems := ignition.Translate(snippet, ignition.DialectFlatcar)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []ignition.Part{
		{Kind: ignition.KindFile, Name: "/etc/a", Path: "/etc/a"},
		{Kind: ignition.KindFolder, Name: "/etc/b", Path: "/etc/b"},
		{Kind: ignition.KindLink, Name: "/etc/c", Path: "/etc/c"},
		{Kind: ignition.KindUnit, Name: "var-lib-data.mount", Path: "/etc/systemd/system/var-lib-data.mount"},
		{Kind: ignition.KindUnit, Name: "d.service", Path: "/etc/systemd/system/d.service"},
		{Kind: ignition.KindUnit, Name: "d.service", Path: "/etc/systemd/system/d.service.d"},
		{Kind: ignition.KindUnit, Name: "etc-x.mount", Path: "/etc/systemd/system/etc-x.mount"},
		{Kind: ignition.KindMount, Name: "etc-x.mount", Path: "/etc/x", Hides: true},
		{Kind: ignition.KindFilesystem, Name: "/var/lib/data", Path: "/var/lib/data"},
		{Kind: ignition.KindFilesystem, Name: "/dev/vdb"},
		{Kind: ignition.KindFilesystem, Name: "/var/lib/scratch", Path: "/var/lib/scratch", Hides: true},
		{Kind: ignition.KindFilesystem, Name: "/dev/vdc"},
		{Kind: ignition.KindUser, Name: "e"},
		{Kind: ignition.KindGroup, Name: "f"},
		{Kind: ignition.KindSetting, Name: ignition.SettingFetchTimeout},
		{Kind: ignition.KindSetting, Name: "ignition.proxy"},
		{Kind: ignition.KindKernelArgument, Name: "quiet"},
		{Kind: ignition.KindKernelArgument, Name: "verbose"},
	}
	if diff := cmp.Diff(want, addition.Parts()); diff != "" {
		t.Errorf("the parts differ (-want +got):\n%s", diff)
	}
}

// An addition stands beside what is there, and both come out as they were.
func TestAdditionsAreMerged(t *testing.T) {
	addition, problems := ignition.Translate(snippet, ignition.DialectFlatcar)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	config := sample()
	config.Additions = []ignition.Addition{addition}
	data, err := config.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ignition.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]ignition.File{}
	for _, file := range got.Files {
		files[file.Path] = file
	}
	for _, file := range append(sample().Files, ignition.File{Path: "/etc/a", Mode: 0o600, Data: []byte("100 % ä\n")}) {
		if diff := cmp.Diff(file, files[file.Path]); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", file.Path, diff)
		}
	}
	if len(got.Units) != len(sample().Units)+3 {
		t.Errorf("units are %v", got.Units)
	}
}

// Each dialect knows what its images know, and all of them write the specification that all images accept.
func TestDialects(t *testing.T) {
	for _, tc := range []struct {
		why     string
		snippet string
		dialect ignition.Dialect
		says    string
	}{
		{"Fedora CoreOS can encrypt its boot disk", "boot_device: {luks: {tpm2: true}}", ignition.DialectFedoraCoreOS, ""},
		{"others have no such disk", "boot_device: {luks: {tpm2: true}}", ignition.DialectFlatcar, "boot_device: "},
		{"Flatcar has no Clevis", "storage: {luks: [{name: a, device: /dev/a, clevis: {tpm2: true}}]}", ignition.DialectFlatcar, "clevis is not supported"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			addition, problems := ignition.Translate(tc.snippet, tc.dialect)
			if tc.says != "" {
				if len(problems) == 0 || !strings.Contains(problems[0].String(), tc.says) {
					t.Fatalf("got %v, want %q", problems, tc.says)
				}
				return
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if _, err := (ignition.Config{Additions: []ignition.Addition{addition}}).Encode(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is wrong is said with its place in the snippet, and without values, because some of them are secret.
func TestProblemsNameThePlaceAndNoValue(t *testing.T) {
	for text, want := range map[string]string{
		"systemd: {units: [{name: a.service}, {name: b.service, contents_local: b}]}": "systemd.units[1].contents_local: ",
		"passwd: {users: [{name: a, passwort_hash: b}]}":                              "passwd.users[0].passwort_hash: ",
		"storage: {files: [{path: /etc/a, mode: hunter2}]}":                           "yaml: unmarshal errors: line 1: cannot unmarshal !!str the value into int",
	} {
		_, problems := ignition.Translate(text, ignition.DialectFlatcar)
		if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), want) {
			t.Errorf("%s gave %v, want %q", text, problems, want)
		}
	}
}

// Whatever people write, it is either a problem that can be read or something that Ignition takes.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{
		snippet, "", "a", "- a", "&a", "a: *a", "? [a]\n: b", "{<<: {variant: a}}", "%YAML 9.9\n---\na: b", "storage: {files: [null]}",
		"systemd: {units: [{name: '-.mount', enabled: true, contents: '[Mount]'}, {name: '\\x.mount'}]}",
		"storage: {files: [{path: /a, append: [{source: 'data:,%zz'}]}]}", "boot_device: {mirror: {devices: [a, b]}, luks: {tang: [{}]}}",
		"ignition: {config: {merge: [{inline: '{}'}]}}", "a: !!binary b", "a: !!timestamp b", "storage: {files: [{path: /a, mode: 0o644}]}",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, fcos bool) {
		dialect := ignition.DialectFlatcar
		if fcos {
			dialect = ignition.DialectFedoraCoreOS
		}
		addition, problems := ignition.Translate(text, dialect)
		for _, problem := range problems {
			if problem.Message == "" {
				t.Errorf("nothing is said at %q", problem.Path)
			}
		}
		if len(problems) > 0 {
			return
		}
		addition.Parts()
		if _, err := (ignition.Config{Additions: []ignition.Addition{addition}}).Encode(); err != nil {
			t.Error(err)
		}
	})
}
