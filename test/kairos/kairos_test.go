// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	sdkschema "github.com/kairos-io/kairos-sdk/schema"
	"github.com/mudler/yip/pkg/plugins"
	"github.com/mudler/yip/pkg/schema"
	"github.com/sirupsen/logrus"
	"github.com/twpayne/go-vfs/v4/vfst"
)

const testdata = "../../internal/osfamily/kairos/testdata"

// bundle is what a machine reads.
type bundle struct {
	name, distribution string
	text               string
}

// bundles reads the golden files. The first line of each says why it is there; the rest is pinned by a digest.
func bundles(t *testing.T) []bundle {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata, "*", "*.golden"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	var all []bundle
	for _, path := range paths {
		if name := filepath.Base(path); strings.HasPrefix(name, "setting-") || name == "worker-identity-report.golden" {
			continue // holds what one setting adds; worker-portable, or settings-worker, has them all
		}
		_, text, _ := strings.Cut(read(t, path), "\n")
		b := bundle{name: strings.TrimSuffix(filepath.Base(path), ".golden"), distribution: filepath.Base(filepath.Dir(path)), text: text}
		sum := sha256.Sum256([]byte(text))
		if line := hex.EncodeToString(sum[:]) + " " + b.name + "\n"; !strings.Contains(read(t, filepath.Join(filepath.Dir(path), "digests.txt")), line) {
			t.Errorf("%s does not hold the bytes that a machine reads", path)
		}
		all = append(all, b)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Kairos refuses to go on with a configuration that its schema does not take.
func TestSchemaAcceptsEveryBundle(t *testing.T) {
	for _, b := range bundles(t) {
		if err := sdkschema.Validate(b.text); err != nil {
			t.Errorf("%s/%s: %v", b.distribution, b.name, err)
		}
	}
	if err := sdkschema.Validate("#cloud-config\nusers: []\n"); err == nil {
		t.Error("the schema says nothing about what is wrong, so what it says of bundles proves nothing")
	}
}

// What yip makes of a bundle is what happens on the machine.
func TestYipReadsEveryBundle(t *testing.T) {
	for _, b := range bundles(t) {
		t.Run(b.distribution+"/"+b.name, func(t *testing.T) {
			stages := load(t, b.text).Stages
			if !slices.ContainsFunc(stages["initramfs"], func(s schema.Stage) bool { return s.Hostname == "harbour-node-1" }) {
				t.Error("the machine gets no name before its system starts")
			}
			token := map[string]string{"k3s": "/etc/rancher/k3s/ingot-token", "k0s": "/etc/k0s/ingot-token", "kubeadm": "/etc/ingot/kubeadm.yaml"}[b.distribution]
			if f := fileOf(stages["initramfs"], token); f.Permissions != 0o600 || f.Owner != 0 || f.Group != 0 || f.Content == "" {
				t.Errorf("%s has mode %04o, belongs to %d:%d and holds %d bytes", token, f.Permissions, f.Owner, f.Group, len(f.Content))
			}
			drop := fileOf(stages["initramfs"], "/etc/systemd/system/cos-setup-reconcile.service.d/ingot.conf")
			if allowed := strings.Contains(b.name, "self-update-allowed"); (drop.Content == "") != allowed {
				t.Errorf("the guard rail holds %q", drop.Content)
			}
			if len(usersOf(stages["boot"])) == 0 {
				t.Error("the machine has no user, and Kairos wants one")
			}
		})
	}
}

// What the user writes must arrive: yip drops what it does not know, and says so to nobody.
func TestYipReadsWhatTheUserAdds(t *testing.T) {
	for _, b := range bundles(t) {
		if b.name != "worker-cloud-config" {
			continue
		}
		stages := load(t, b.text).Stages
		if f := fileOf(stages["initramfs"], "/etc/motd"); f.Permissions != 0o644 {
			t.Errorf("permissions 0644 arrive as %04o", f.Permissions)
		}
		if f := fileOf(stages["boot"], "/etc/rancher/k3s/registries.yaml"); f.Permissions != 0o600 || !strings.Contains(f.Content, "mirror.example.com") {
			t.Errorf("a file of cloud-init arrives with mode %04o and %q", f.Permissions, f.Content)
		}
		user := usersOf(stages["boot"])["operator"]
		if user.UID != "1000" || !user.LockPasswd || !slices.Equal(user.Groups, []string{"admin"}) {
			t.Errorf("the user arrives as %+v", user)
		}
		for _, name := range []string{"initramfs", "boot", "boot.after", "network"} {
			if len(stages[name]) == 0 {
				t.Errorf("stage %s is lost", name)
			}
		}
		if after := stages["boot.after"]; len(after) == 1 {
			s := after[0]
			if s.If == "" || s.TimeSyncd["NTP"] == "" || !slices.Equal(s.Systemctl.Mask, []string{"apt-daily.timer"}) || !slices.Equal(s.Dns.Nameservers, []string{"192.0.2.53"}) {
				t.Errorf("the step arrives as %+v", s)
			}
		}
	}
}

// yip executes templates in what it writes, and makes folders with the mode of the file. What is on the disk in the end must be
// what the config says.
func TestYipWritesFilesAsTheyAre(t *testing.T) {
	written := 0
	for _, b := range bundles(t) {
		if b.name != "worker-portable" {
			continue
		}
		fs, cleanup, err := vfst.NewTestFS(map[string]any{"/etc/opt": &vfst.Dir{Perm: 0o755}, "/etc/systemd/system/multipathd.service.d": &vfst.Dir{Perm: 0o755}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cleanup)
		log := logrus.New()
		log.SetOutput(t.Output())
		for _, s := range load(t, b.text).Stages["initramfs"] {
			if err := plugins.EnsureFiles(log, s, fs, nil); err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string]string{
			"/etc/opt/braces.conf": "a {{ .Values.node.hostname }} {{{b}}} {{- c -}}\n# $x %h\n",
			"/etc/opt/key":         "\x00\xff{{{\n",
			"/etc/systemd/system/multipathd.service.d/10-a.conf": "[Service]\nNice=5\n",
		} {
			if got, err := fs.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("%s/%s holds %q (%v), want %q", b.distribution, path, got, err, want)
			}
			written++
		}
	}
	if written != 6 {
		t.Errorf("%d files were looked at, want 6", written)
	}
}

// The family refuses keys of a step that it does not know. It must know those that yip knows, and no other.
func TestKeysOfAStepAreThoseOfYip(t *testing.T) {
	var keys []string
	keysOf(reflect.TypeFor[schema.Stage](), "", &keys)
	slices.Sort(keys)
	if want := strings.Join(keys, "\n") + "\n"; want != read(t, filepath.Join(testdata, "stage-keys.txt")) {
		t.Errorf("yip knows the keys\n%s\nand %s/stage-keys.txt says what the family knows", want, testdata)
	}
}

// keysOf lists the keys of a type as yip's YAML has them.
func keysOf(t reflect.Type, path string, keys *[]string) {
	switch t.Kind() {
	case reflect.Pointer:
		keysOf(t.Elem(), path, keys)
	case reflect.Slice:
		keysOf(t.Elem(), path+"[]", keys)
	case reflect.Map:
		keysOf(t.Elem(), path+"{}", keys)
	case reflect.Struct:
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if name == "" {
				name = strings.ToLower(field.Name)
			}
			keysOf(field.Type, path+"."+name, keys)
		}
	default:
		*keys = append(*keys, path)
	}
}

func load(t *testing.T, text string) *schema.YipConfig {
	t.Helper()
	fs, cleanup, err := vfst.NewTestFS(map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cleanup)
	config, err := schema.Load(text, fs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func fileOf(stages []schema.Stage, path string) schema.File {
	for _, s := range stages {
		for _, f := range s.Files {
			if f.Path == path {
				return f
			}
		}
	}
	return schema.File{}
}

func usersOf(stages []schema.Stage) map[string]schema.User {
	users := map[string]schema.User{}
	for _, s := range stages {
		maps.Copy(users, s.Users)
	}
	return users
}
