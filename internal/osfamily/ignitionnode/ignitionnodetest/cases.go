// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

const (
	// filesAndUnits is what most people add. No part of it needs more than a folder to be written to.
	filesAndUnits = `
storage:
  directories:
  - path: /etc/example
    mode: 0750
  files:
  - path: /etc/example/greeting
    mode: 0640
    contents:
      inline: |
        Hello, 50 % of the world!
  - path: /etc/sysctl.d/90-example.conf
    contents:
      inline: vm.max_map_count = 262144
  links:
  - path: /etc/localtime
    target: ../usr/share/zoneinfo/Europe/Berlin
systemd:
  units:
  - name: containerd.service
    dropins:
    - name: 10-limits.conf
      contents: |
        [Service]
        LimitNOFILE=1048576
  - name: greeting.service
    enabled: true
    contents: |
      [Service]
      Type=oneshot
      ExecStart=/bin/cat /etc/example/greeting
      [Install]
      WantedBy=multi-user.target
  - name: debug-shell.service
    mask: true
`
	// remote is fetched by the machine; its digest makes it the same for all.
	remote = `
storage:
  files:
  - path: /opt/example/tool
    mode: 0755
    contents:
      source: https://example.com/tool
      verification:
        hash: sha512-` + hex128 + `
ignition:
  timeouts: {http_total: 600}
`
	// disks is what Ignition does before files are written, and users.
	disks = `
passwd:
  users:
  - name: core
    ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample someone@example.com]
storage:
  disks:
  - device: /dev/vdb
    wipe_table: true
    partitions: [{label: containers, number: 1}]
  filesystems:
  - device: /dev/disk/by-partlabel/containers
    path: /var/lib/containerd
    format: xfs
    with_mount_unit: true
kernel_arguments:
  should_exist: [mitigations=auto]
`
	hex128 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// Cases are the good cases that the family has beside the portable ones.
func (s Suite) Cases(tb testing.TB) []osfamilytest.Case {
	tb.Helper()
	var cases []osfamilytest.Case
	add := func(name, why, from string, change func(*bootstrapv1.IngotConfigSpec)) {
		in := s.input(tb, from)
		change(&in.Config)
		cases = append(cases, osfamilytest.Case{Name: name, Why: why, Input: in})
	}
	add("worker-butane", "files, a drop-in of an image's unit and units of one's own", "worker",
		func(spec *bootstrapv1.IngotConfigSpec) { spec.Ignition.Butane = []string{filesAndUnits} })
	add("init-butane", "several snippets are added one after another; what is fetched has a digest", "init",
		func(spec *bootstrapv1.IngotConfigSpec) {
			spec.Ignition.Butane = []string{filesAndUnits, remote, disks}
		})
	add("worker-butane-self-update", "who allows the operating system to update itself may say how", "worker",
		func(spec *bootstrapv1.IngotConfigSpec) {
			spec.SelfUpdate = bootstrapv1.SelfUpdateAllowed
			spec.Ignition.Butane = s.SelfUpdates
		})
	if s.SysextFolder != "" {
		add("worker-sysexts", "system extensions are pinned by a digest of either kind", "worker",
			func(spec *bootstrapv1.IngotConfigSpec) { spec.Ignition.Sysexts = sysexts() })
		add("control-plane-sysexts-butane", "system extensions and snippets go together", "control-plane",
			func(spec *bootstrapv1.IngotConfigSpec) {
				spec.Ignition.Sysexts = sysexts()
				spec.Ignition.Butane = []string{filesAndUnits}
			})
	}
	return cases
}

func sysexts() []bootstrapv1.Sysext {
	return []bootstrapv1.Sysext{
		{Name: "kubernetes", URL: "https://example.com/kubernetes-v1.36.3-x86-64.raw", SHA512: strings.Repeat("0f", 64)},
		{Name: "keepalived", URL: "http://example.com/keepalived.raw", SHA256: strings.Repeat("1e", 32)},
	}
}

// brokenSysexts are system extensions that the family cannot render.
func (s Suite) brokenSysexts(tb testing.TB) []osfamilytest.Case {
	tb.Helper()
	const path = "spec.ignition.sysexts"
	var cases []osfamilytest.Case
	add := func(name, at string, change func(*bootstrapv1.IgnitionConfig)) {
		in := s.input(tb, "worker")
		in.Config.Ignition.Sysexts = sysexts()
		change(&in.Config.Ignition)
		cases = append(cases, osfamilytest.Case{Name: name, Path: at, Input: in})
	}
	add("another variant", "spec.ignition.variant", func(c *bootstrapv1.IgnitionConfig) { c.Variant = "Plan9" })
	if s.SysextFolder == "" {
		add("system extensions", path, func(*bootstrapv1.IgnitionConfig) {})
		return cases
	}
	add("an extension without a digest", path+"[0]", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[0].SHA512 = "" })
	add("an extension with two digests", path+"[0]", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[0].SHA256 = c.Sysexts[1].SHA256 })
	add("a digest that is none", path+"[0].sha512", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[0].SHA512 = "0f" })
	add("a short digest that is none", path+"[1].sha256", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[1].SHA256 = strings.Repeat("z", 64) })
	add("an extension that climbs", path+"[0].name", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[0].Name = "../etc" })
	add("an extension twice", path+"[1].name", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[1].Name = c.Sysexts[0].Name })
	add("an address that is none", path+"[0].url", func(c *bootstrapv1.IgnitionConfig) { c.Sysexts[0].URL = "file:///etc/shadow" })
	return cases
}

func (s Suite) input(tb testing.TB, name string) osfamily.Input {
	tb.Helper()
	for _, c := range osfamilytest.Cases(s.selectFamily) {
		if c.Name == name {
			return c.Input
		}
	}
	tb.Fatalf("no case %s", name)
	return osfamily.Input{}
}
