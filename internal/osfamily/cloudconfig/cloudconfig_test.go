// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudconfig_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
)

func sample() cloudconfig.Config {
	return cloudconfig.Config{
		Hostname:     "node.example.com",
		KeepPackages: true,
		ReadOnce:     true,
		Files: []cloudconfig.File{
			{Path: "/etc/empty", Mode: 0o755, Data: []byte{}},
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.1.1 node\n"), Append: true},
			{Path: "/etc/secret", Mode: 0o600, Data: []byte{0, 0xff, '"', '\n'}},
		},
		Units: []cloudconfig.Unit{
			{Name: "a.service", Contents: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n", Enabled: true},
			{Name: "b.timer", Masked: true},
			{Name: "c.service", Dropins: map[string]string{"20-x.conf": "[Unit]\n", "10-y.conf": "[Service]\n"}},
			{Name: "d.socket", Enabled: true},
		},
	}
}

func encoded(t *testing.T, config cloudconfig.Config) []byte {
	t.Helper()
	data, err := config.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is encoded must mean what was said: content byte for byte, modes, enablement and masks.
func TestEncodeRoundTrip(t *testing.T) {
	for name, want := range map[string]cloudconfig.Config{"everything": sample(), "nothing": {}} {
		got, err := cloudconfig.Decode(encoded(t, want))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: decoded configuration differs (-want +got):\n%s", name, diff)
		}
	}
}

// A digest of the bytes decides whether machines roll, so neither listing order nor map order may leak into them.
func TestEncodeIsDeterministic(t *testing.T) {
	first := encoded(t, sample())
	for range 20 {
		shuffled := sample()
		slices.Reverse(shuffled.Files)
		slices.Reverse(shuffled.Units)
		if again := encoded(t, shuffled); !bytes.Equal(first, again) {
			t.Fatalf("the same configuration gave other bytes:\n%s\n%s", first, again)
		}
	}
}

// The bytes themselves, so that a reader sees what cloud-init is told.
func TestEncodeWrites(t *testing.T) {
	const want = `#cloud-config
bootcmd:
- - set
  - -e
- - ln
  - -sfT
  - /dev/null
  - /etc/systemd/system/b.timer
- - systemctl
  - daemon-reload
- - sh
  - -c
  - systemctl --no-block stop "$@" || true
  - sh
  - b.timer
fqdn: node
hostname: node
manage_etc_hosts: false
manual_cache_clean: true
package_reboot_if_required: false
package_update: false
package_upgrade: false
preserve_hostname: false
runcmd:
- - set
  - -e
- - ln
  - -sfT
  - /dev/null
  - /etc/systemd/system/b.timer
- - systemctl
  - daemon-reload
- - systemctl
  - enable
  - a.service
- - systemctl
  - --no-block
  - restart
  - a.service
write_files:
- append: true
  content: MTI3LjAuMS4xIG5vZGUK
  encoding: b64
  owner: root:root
  path: /etc/hosts
  permissions: "0644"
- content: W1VuaXRdCg==
  encoding: b64
  owner: root:root
  path: /etc/systemd/system/z.service.d/10-z.conf
  permissions: "0644"
- content: W0luc3RhbGxdCg==
  encoding: b64
  owner: root:root
  path: /etc/systemd/system/a.service
  permissions: "0644"
`
	got := encoded(t, cloudconfig.Config{
		Hostname: "node", KeepPackages: true, ReadOnce: true,
		Files: []cloudconfig.File{{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.1.1 node\n"), Append: true}},
		Units: []cloudconfig.Unit{
			{Name: "a.service", Contents: "[Install]\n", Enabled: true},
			{Name: "b.timer", Masked: true},
			{Name: "z.service", Dropins: map[string]string{"10-z.conf": "[Unit]\n"}},
		},
	})
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("cloud-config differs (-want +got):\n%s", diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	const unit = "[Service]\nExecStart=/bin/true\n"
	file := func(path string) cloudconfig.Config {
		return cloudconfig.Config{Files: []cloudconfig.File{{Path: path}}}
	}
	only := func(u cloudconfig.Unit) cloudconfig.Config { return cloudconfig.Config{Units: []cloudconfig.Unit{u}} }
	for _, tc := range []struct {
		why    string
		config cloudconfig.Config
		want   string
	}{
		{"cloud-init makes a relative path one below wherever it runs", file("etc/hostname"), `file "etc/hostname": its path must be absolute`},
		{"two ways to write one path would hide that it is listed twice", file("/etc/../etc/hostname"), "clean"},
		{"the root is no file", file("/"), "clean"},
		{"a path is text, or YAML changes it", file("/etc/\xff"), "printable text"},
		{"a line break in a path is a mistake", file("/etc/a\nb"), "printable text"},
		{"the file of a unit would be written before others", file("/etc/systemd/system/a.service"), "belongs to a unit"},
		{
			"cloud-init would set bits that nobody reviewed",
			cloudconfig.Config{Files: []cloudconfig.File{{Path: "/a", Mode: 0o4755}}},
			"more than permission bits",
		},
		{
			"two files at one path would let the order decide",
			cloudconfig.Config{Files: []cloudconfig.File{{Path: "/a", Data: []byte("a")}, {Path: "/a", Data: []byte("b")}}},
			"listed twice",
		},
		{"systemd ignores a unit without a known suffix", only(cloudconfig.Unit{Name: "a.unit", Enabled: true}), "not that of a systemd unit"},
		{"a name is no way out of the folder", only(cloudconfig.Unit{Name: "../a.service", Enabled: true}), "not that of a systemd unit"},
		{"a name is no flag of systemctl", only(cloudconfig.Unit{Name: "--now.service", Enabled: true}), "not that of a systemd unit"},
		{"a unit of which nothing is said was forgotten", only(cloudconfig.Unit{Name: "a.service"}), "nothing is said"},
		{"a masked unit has no content", only(cloudconfig.Unit{Name: "a.service", Masked: true, Contents: unit}), "it is masked"},
		{"a masked unit does not start", only(cloudconfig.Unit{Name: "a.service", Masked: true, Enabled: true}), "it is masked"},
		{
			"enabling a unit without an install section does nothing, and systemctl says so to nobody",
			only(cloudconfig.Unit{Name: "a.service", Contents: unit, Enabled: true}), "no section [Install]",
		},
		{
			"systemd reads only drop-ins that end with .conf",
			only(cloudconfig.Unit{Name: "a.service", Dropins: map[string]string{"a": "[Unit]\n"}}), "must end with .conf",
		},
		{
			"two units of one name would let the order decide",
			cloudconfig.Config{Units: []cloudconfig.Unit{{Name: "a.timer", Masked: true}, {Name: "a.timer", Enabled: true}}},
			"listed twice",
		},
		{"a host name is no place for a script", cloudconfig.Config{Hostname: "a b"}, "must be a DNS name"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := tc.config.Encode()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}

// cloud-init takes a document with a typing error, drops what it does not know, and goes on.
func TestValidateRefuses(t *testing.T) {
	good := string(encoded(t, sample()))
	for _, tc := range []struct {
		why, old, new, want string
	}{
		{"without the first line it is not a cloud-config", "#cloud-config\n", "# cloud-config\n", "first line"},
		{"a key that is not known does nothing", "runcmd:", "runcmds:", "runcmds"},
		{"a key that is there twice is read once", "hostname: ", "fqdn: other\nhostname: ", "already set"},
		{"content that is no base64 becomes another content", "content: AP8iCg==", "content: AP8iCg", "not base64"},
		{"permissions that cannot be read become 0644", `permissions: "0600"`, `permissions: "06oo"`, "not octal"},
		{"an encoding that is not known is taken for none", "encoding: b64", "encoding: b65", "something else"},
		{"a script that goes on after a failure starts what it must not", "- -e", "- -u", "something else"},
		{"a second document is never read", "#cloud-config\n", "#cloud-config\n---\n{}\n---\n", "something else"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			bad := strings.Replace(good, tc.old, tc.new, 1)
			if bad == good {
				t.Fatalf("the sample does not hold %q", tc.old)
			}
			if err := cloudconfig.Validate([]byte(bad)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}

// Whatever Decode takes, it understood: written again it has the same bytes.
func FuzzDecode(f *testing.F) {
	data, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("#cloud-config\n{}\n"))
	f.Add([]byte("#cloud-config\nruncmd:\n- []\n- [systemctl, enable, a.service]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := cloudconfig.Decode(data)
		if err != nil {
			return
		}
		if again := encoded(t, config); !bytes.Equal(data, again) {
			t.Errorf("decoded\n%s\nwhich is written as\n%s", data, again)
		}
	})
}
