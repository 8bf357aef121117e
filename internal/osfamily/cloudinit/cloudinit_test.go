// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:        cloudinit.New(),
		Format:        ingotv1.BootstrapFormatCloudConfig,
		Select:        selectCloudInit,
		Validate:      cloudconfig.Validate,
		Readable:      readable,
		SelfUpdateOff: selfUpdateOff,
		Refuses:       refused(),
		Testdata:      "testdata",
		Support:       cloudinit.Support(),
		Own:           ownCases(),
	}
}

// everything is what a user can add.
const everything = `#cloud-config
disk_setup:
  /dev/vdb: {table_type: gpt, layout: [50, [50, 82]], overwrite: false}
fs_setup:
- {device: /dev/vdb1, partition: auto, filesystem: ext4, label: data, overwrite: false, extra_opts: ["-m", "0"]}
mounts:
- [LABEL=data, /var/lib/data, ext4, "defaults,nofail", "0", "2"]
growpart: {mode: auto, devices: [/], ignore_growroot_disabled: false}
resize_rootfs: true
groups: [operators]
users:
- name: harbour
  gecos: Harbour
  groups: [operators]
  primary_group: users
  homedir: /home/harbour
  shell: /bin/bash
  sudo: ALL=(ALL) NOPASSWD:ALL
  system: false
  uid: 1500
  no_create_home: false
  ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhbmFuYQ== harbour]
timezone: Europe/Vienna
locale: en_US.UTF-8
`

// ownCases are about what users add in cloud-init's own words.
func ownCases() []osfamilytest.Case {
	var cases []osfamilytest.Case
	add := func(name, why, path, text string) {
		in := osfamilytest.Worker(selectCloudInit)
		in.Config.CloudInit.UserData = text
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Path: path, Input: in})
	}
	add("worker-user-data", "what the user adds stands beside what Ingot sets", "", everything)
	for name, text := range map[string]string{
		"a script": "#!/bin/sh\nreboot\n", "a template": "## template: jinja\ntimezone: UTC\n", "a file elsewhere": "#include https://example.com/a\n",
		"nothing": "# later\n", "two documents": "timezone: UTC\n---\nruncmd: [reboot]\n", "the name of the machine": "hostname: other\n",
		"a command": "runcmd: [reboot]\n", "an earlier command": "bootcmd: [reboot]\n", "a file of the node": "write_files: [{path: /etc/ingot/kubeadm.yaml}]\n",
		"a package": "packages: [nginx]\n", "an upgrade": "package_upgrade: true\n", "a password": "chpasswd: {list: 'root:a'}\n",
		"a password of a user": "users: [{name: a, passwd: $6$a}]\n", "a key from elsewhere": "users: [{name: a, ssh_import_id: [gh:a]}]\n",
		"a key that is an address": "users: [{name: a, ssh_authorized_keys: ['https://example.com/a b']}]\n", "the user of the image": "users: [default]\n",
		"a user with a line break": "users: [{name: \"a\\nb\"}]\n", "a user twice": "users: [{name: a}, {name: a}]\n", "a typo": "timezones: UTC\n",
		"a mount over the node": "mounts: [[/dev/vdb, /etc/kubernetes]]\n", "a mount over the root": "mounts: [[/dev/vdb, /]]\n",
		"a mount that is none": "mounts: [[swap, none, swap]]\n", "a disk by its number": "disk_setup: {ephemeral0: {layout: true}}\n",
		"a layout of words": "disk_setup: {/dev/vdb: {layout: [a]}}\n", "a part of a percent": "disk_setup: {/dev/vdb: {layout: [[33.5, 82]]}}\n", "a partition that is none": "fs_setup: [{device: /dev/vdb, filesystem: ext4, partition: b}]\n",
		"a command that makes a file system": "fs_setup: [{device: /dev/vdb, filesystem: ext4, cmd: reboot}]\n", "a key twice": "timezone: UTC\ntimezone: UTC\n",
		"another time zone than one": "timezone: ../etc/passwd\n", "swap": "swap: {filename: /swap, size: 1G}\n",
	} {
		add("user data that is "+name, "", "spec.cloudInit.userData", text)
	}
	return cases
}

// A file of the user's is on the disk before a disk is mounted over it.
func TestMountHidesNothing(t *testing.T) {
	in := osfamilytest.Worker(selectCloudInit)
	in.Config.CloudInit.UserData = "mounts: [[/dev/vdb, /var/lib/data]]\n"
	in.Config.Files = []bootstrapv1.File{{Path: "/var/lib/data/a", Content: new("a")}}
	_, report := cloudinit.New().Render(in)
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "it would hide the file /var/lib/data/a") {
		t.Errorf("got %v, want the mount refused", err)
	}
}

func nodeSuite() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: cloudinit.New(), Select: selectCloudInit, Read: cloudinit.Read, Refuses: refused()}
}

func selectCloudInit(spec *bootstrapv1.IngotConfigSpec) {
	spec.CloudInit = &bootstrapv1.CloudInitConfig{}
}

// refused are the cases that fetch something.
func refused() map[string]string {
	return map[string]string{"init-restore": "spec.restoreFrom", "init-restore-own-authority": "spec.restoreFrom"}
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite()) }

func TestNode(t *testing.T) { kubeadmtest.Run(t, nodeSuite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite()) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite()) }

func FuzzUserData(f *testing.F) {
	osfamilytest.FuzzText(f, suite(), func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.CloudInit.UserData = text },
		everything, "#cloud-config\na: &a [*a]\n", "users: [{name: a, uid: 1e3}]\n", "disk_setup: {/dev/vdb: {layout: [[33, 82], 1.5]}}\n")
}

// This family masks more than others. Who opts out of the guard rails may have the unit.
func TestOwnGuardRailsHold(t *testing.T) {
	in := nodeSuite().Input(t, "worker")
	in.Config.Units = []bootstrapv1.Unit{{Name: "tdnf-automatic-install.timer", Enabled: new(true)}}
	_, report := cloudinit.New().Render(in)
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "spec.units[0].name: ") {
		t.Errorf("got %v, want the unit refused", err)
	}
	in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
	if _, report := cloudinit.New().Render(in); report.Err() != nil {
		t.Error(report.Err())
	}
}

func BenchmarkRender(b *testing.B) { osfamilytest.Benchmark(b, suite()) }

// The programs of the node read what cloud-init would write for them.
func TestRealKubeadmAcceptsEveryConfiguration(t *testing.T) {
	programs := kubeadmtest.RealPrograms(t, "kubeadm")
	nodeSuite().Each(t, func(t *testing.T, in osfamily.Input, _ []byte) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "kubeadm.yaml")
		if err := os.WriteFile(path, fileOf(t, nodeSuite().Node(t, in), "/etc/ingot/kubeadm.yaml").Data, 0o600); err != nil {
			t.Fatal(err)
		}
		programs.Run(t, "kubeadm", "config", "validate", "--config", path)
	})
}

func fileOf(t *testing.T, node kubeadm.Node, path string) kubeadm.File {
	t.Helper()
	for _, file := range node.Files {
		if file.Path == path {
			return file
		}
	}
	t.Fatalf("no file %s", path)
	return kubeadm.File{}
}

func readable(data []byte) (string, error) {
	return cloudinit.New().Readable(osfamily.Bundle{Data: data})
}

// selfUpdateOff asks for cloud-init itself, and for what the guard rails of the node leave out.
func selfUpdateOff(data []byte) bool {
	config, err := cloudconfig.Decode(data)
	if err != nil || !config.KeepPackages {
		return false
	}
	node, err := cloudinit.Read(data)
	return err == nil && kubeadmtest.SelfUpdateOff(node)
}
