// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// breach is a snippet that breaks the law.
type breach struct {
	why     string
	snippet string
	says    string // part of the message
}

const (
	snippetPath = "spec.ignition.butane[0]"
	saysGuard   = "set spec.selfUpdate to Allowed"
)

// breaches are the same for all families.
func breaches() []breach {
	return append([]breach{
		{"two files at one path: one would be lost", file("/etc/hostname"), `file "/etc/hostname" is written by Ingot`},
		{"a file that Ingot appends to", "storage: {files: [{path: /etc/hosts, append: [{inline: x}]}]}", `file "/etc/hosts" is written by Ingot`},
		{"another kubeadm configuration", file("/etc/ingot/kubeadm.yaml"), `"/etc/ingot/kubeadm.yaml"`},
		{"a patch that nobody sees in the spec", file("/etc/ingot/kubeadm-patches/etcd.yaml"), "only Ingot writes"},
		{"a link in place of a folder", link("/etc/ingot"), `link "/etc/ingot"`},
		{"a folder that is made anew", "storage: {directories: [{path: /etc/systemd, overwrite: true}]}", "holds what Ingot writes"},
		{"another file system over what is written", fs("/etc/ingot"), `file system "/etc/ingot"`},
		{"a file system that is not mounted when the system runs", fs("/etc"), "holds what Ingot writes"},
		{"a mount that hides what is written", unit("etc-ingot.mount", "[Mount]\nWhat=tmpfs\nWhere=/etc/ingot\n"), `mount unit "etc-ingot.mount"`},
		{"an own way to make a node", unit("ingot-bootstrap.service", "[Service]\nExecStart=/bin/true\n"), `unit "ingot-bootstrap.service" is a unit of Ingot's`},
		{"a drop-in for the unit that makes a node", "systemd: {units: [{name: ingot-bootstrap.service, dropins: [{name: a.conf, contents: '[Unit]'}]}]}", "a unit of Ingot's"},
		{"the same as a file", file("/etc/systemd/system/ingot-bootstrap.service.d/a.conf"), "a unit of Ingot's"},
		{"the same for all units of a prefix", "systemd: {units: [{name: ingot-.service, dropins: [{name: a.conf, contents: '[Unit]'}]}]}", "units of Ingot's with all others"},
		{"the same for all services", file("/etc/systemd/system/service.d/a.conf"), "units of Ingot's with all others"},
		{"a unit that comes before", file("/etc/systemd/system.control/ingot-bootstrap.service"), "come before the units that Ingot writes"},
		{"a unit that is not wanted any more", link("/etc/systemd/system/multi-user.target.wants/ingot-bootstrap.service"), "a unit of Ingot's"},
		{"a preset that disables", file("/etc/systemd/system-preset/00-all.preset"), "decide which units of Ingot's are enabled"},
		{"a kernel argument that masks", "kernel_arguments: {should_exist: [systemd.mask=ingot-bootstrap.service]}", "systemd.mask=ingot-bootstrap.service"},
		{"a node that exists already is not made", file("/etc/kubernetes/kubelet.conf"), "made by kubeadm"},
		{"another authority", file("/etc/kubernetes/pki/ca.crt"), "made by kubeadm"},
		{"an update of extensions", file("/etc/sysupdate.kubernetes.d/kubernetes.conf"), saysGuard},
		{"the timer of such updates", "systemd: {units: [{name: systemd-sysupdate.timer, enabled: true}]}", saysGuard},
		{"the same as a file", file("/etc/systemd/system/systemd-sysupdate.timer"), saysGuard},
		{"a program of the image", file("/usr/bin/kubeadm"), "cannot be written"},
		{"the same by a link of the image", file("/lib/systemd/system-preset/00-all.preset"), "cannot be written"},
	}, unread()...)
}

// unread are snippets that Ingot does not even take apart.
func unread() []breach {
	const fetched = "is fetched without a digest"
	return []breach{
		{"a file of the manager", "storage: {files: [{path: /etc/a, contents: {local: etc/passwd}}]}", "storage.files[0].contents.local: no file"},
		{"a tree of the manager", "storage: {trees: [{local: etc}]}", "storage.trees[0]: no file"},
		{"keys of the manager", "passwd: {users: [{name: a, ssh_authorized_keys_local: [a]}]}", "ssh_authorized_keys_local: no file"},
		{"a unit of the manager", "systemd: {units: [{name: a.service, contents_local: a}]}", "contents_local: no file"},
		{"a file that is another tomorrow", "storage: {files: [{path: /etc/a, contents: {source: 'https://example.com/a'}}]}", "storage.files[0].contents: " + fetched},
		{"a part of a file that is another tomorrow", "storage: {files: [{path: /etc/a, append: [{source: 'http://example.com/a'}]}]}", "append[0]: " + fetched},
		{"a key that is another tomorrow", "storage: {luks: [{name: a, device: /dev/a, key_file: {source: 'https://example.com/a'}}]}", "key_file: " + fetched},
		{"an authority that is another tomorrow", "ignition: {security: {tls: {certificate_authorities: [{source: 'https://example.com/a'}]}}}", "certificate_authorities[0]: " + fetched},
		{"a whole configuration in place of all", "ignition: {config: {replace: {inline: '{\"ignition\": {\"version\": \"3.4.0\"}}'}}}", "would bring another configuration"},
		{"a whole configuration beside it", "ignition: {config: {merge: [{source: 'https://example.com/a', verification: {hash: sha512-" + hex128 + "}}]}}", "would bring another configuration"},
		{"a slip of the pen", "storage: {file: []}", "storage.file"},
		{"a mode that is no mode", "storage: {files: [{path: /etc/a, mode: 644}]}", "storage.files[0].mode"},
		{"a unit that is enabled and has no place", "systemd: {units: [{name: a.service, enabled: true, contents: '[Unit]'}]}", "systemd.units[0]"},
		{"a path from nowhere", file("etc/a"), "path not absolute"},
		{"a path that climbs", file("/opt/../etc/ingot/join"), "storage.files[0].path"},
		{"another variant", "variant: openshift\nstorage: {files: [{path: /etc/a}]}", "variant: is set by Ingot"},
		{"another version", "version: 1.0.0\nstorage: {files: [{path: /etc/a}]}", "version: is set by Ingot"},
		{"nothing", "", "it is empty"},
		{"nothing at all", "storage: {}", "it adds nothing"},
		{"no mapping", "- a", "not a Butane configuration"},
		{"a second document, which Butane would not see", file("/etc/a") + "\n---\n" + file("/etc/hostname"), "more than one YAML document"},
		{"what stands for gigabytes", "storage: {files: [&a {path: /etc/a}, *a]}", "alias"},
		{"no YAML", "storage: [", "did not find expected"},
		{"a value of another kind", "storage: {files: [{path: /etc/a, mode: PRIVATE-hunter2}]}", "cannot unmarshal"},
	}
}

func file(path string) string {
	return "storage: {files: [{path: " + path + ", overwrite: true, contents: {inline: x}}]}"
}

func link(path string) string {
	return "storage: {links: [{path: " + path + ", target: /dev/null, overwrite: true}]}"
}

func unit(name, contents string) string {
	return "systemd:\n  units:\n  - name: " + name + "\n    contents: |\n      " + strings.ReplaceAll(contents, "\n", "\n      ")
}

func fs(path string) string {
	return "storage: {filesystems: [{device: /dev/vdb, format: ext4, path: " + path + "}]}"
}

// mounted is fs with a unit that mounts it on every boot.
func mounted(path string) string { return fs(path + ", with_mount_unit: true") }

// checkLaw puts every breach to the family, and the nearest thing that is good.
func (s Suite) checkLaw(t *testing.T) {
	t.Helper()
	list := breaches()
	for _, snippet := range s.SelfUpdates {
		list = append(list, breach{"an update of the operating system", snippet, saysGuard})
	}
	for _, path := range s.ReadOnly {
		list = append(list, breach{"a file where nobody can write", file(path), "cannot be written"})
	}
	for _, b := range list {
		t.Run("refuses "+b.why, func(t *testing.T) {
			in := s.input(t, "init-full")
			in.Config.Ignition.Butane = []string{b.snippet}
			s.checkRefused(t, in, snippetPath, b.says)
		})
	}
	for _, b := range s.breachesOfOthers() {
		t.Run("refuses "+b.why, func(t *testing.T) {
			in := s.input(t, "init-restore")
			if s.SysextFolder != "" {
				in.Config.Ignition.Sysexts = sysexts()
			}
			in.Config.Ignition.Butane = []string{filesAndUnits, b.snippet}
			s.checkRefused(t, in, "spec.ignition.butane[1]", b.says)
		})
	}
	for _, snippet := range []string{
		mounted("/var/lib/etcd"), mounted("/var"), fs("/"), file("/etc/kubernetes/audit.yaml"), file("/etc/kubernetes/manifests/proxy.yaml"),
		"storage: {directories: [{path: /etc/systemd/system/a.service.d}]}", file("/etc/systemd/journald.conf.d/a.conf"),
		"ignition: {security: {tls: {certificate_authorities: [{inline: x}]}}}",
	} {
		t.Run("takes "+snippet, func(t *testing.T) {
			in := s.input(t, "init-restore")
			in.Config.Ignition.Butane = []string{snippet}
			bundle, report := s.Family.Render(in)
			if err := report.Err(); err != nil {
				t.Fatal(err)
			}
			if err := s.Port().Validate(bundle.Data); err != nil {
				t.Error(err)
			}
		})
	}
}

// breachesOfOthers are breaches against what not every node has, and against another snippet.
func (s Suite) breachesOfOthers() []breach {
	list := []breach{
		{"a file that an earlier snippet writes", file("/etc/example/greeting"), "is in spec.ignition.butane[0] already"},
		{"a unit that an earlier snippet extends", "systemd: {units: [{name: containerd.service, enabled: true}]}", "is in spec.ignition.butane[0] already"},
		{"a file below what is restored", file("/var/lib/etcd/member/extra"), "written by Ingot"},
		{"another patience than that of the restore", "ignition: {timeouts: {http_total: 1}}", "is set by Ingot"},
	}
	if s.SysextFolder != "" {
		list = append(list, breach{"another extension of the same name", link("/etc/extensions/kubernetes.raw"), "system extension of spec.ignition.sysexts"},
			breach{"a second way to merge extensions", "systemd: {units: [{name: systemd-sysext.service, mask: true}]}", "a unit of Ingot's"})
	}
	return list
}

func (s Suite) checkRefused(t *testing.T, in osfamily.Input, path, says string) {
	t.Helper()
	bundle, report := s.Family.Render(in)
	if len(bundle.Data) > 0 {
		t.Error("the bundle came all the same")
	}
	found := false
	for _, finding := range report {
		found = found || finding.Path == path && strings.Contains(finding.Message, says)
		if strings.Contains(finding.Message, "hunter2") {
			t.Errorf("the message quotes a value: %s", finding)
		}
	}
	if !found {
		t.Errorf("nothing at %s says %q: %q", path, says, report)
	}
}
