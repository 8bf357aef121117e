// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeadmtest holds what every family of kubeadm nodes must pass beside the laws of the port, the form in which
// its golden files show a node, and the real programs of a node. It holds no expectation about one format; a family brings
// a function that reads the node back from its own.
package kubeadmtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// Suite is a family with what the suite must know to judge it.
type Suite struct {
	// Family is the family under test.
	Family osfamily.Family
	// Select sets the operating system block that chooses the family.
	Select func(*bootstrapv1.IngotConfigSpec)
	// Read reads the node back from a bundle.
	Read func(data []byte) (kubeadm.Node, error)
	// Refuses lists the portable cases that the family cannot render.
	Refuses map[string]string
}

// Run checks the node of every portable case.
func Run(t *testing.T, s Suite) {
	t.Helper()
	s.Each(t, func(t *testing.T, in osfamily.Input, _ []byte) {
		t.Helper()
		node := s.Node(t, in)
		checkSecrets(t, in, node)
		if in.Role == bootstrapv1.RoleInit {
			checkInitPrintsNoToken(t, node)
		}
	})
	for _, c := range takenCases() {
		t.Run("refuses "+c.why, func(t *testing.T) {
			in := s.Input(t, "init-vip-default-interface")
			c.change(&in.Config)
			bundle, report := s.Family.Render(in)
			if err := report.Err(); err == nil || !strings.Contains(err.Error(), c.path+": ") || len(bundle.Data) > 0 {
				t.Errorf("got %v and %d bytes, want an Error at %s and none", err, len(bundle.Data), c.path)
			}
		})
	}
}

// takenCase is a setting that would undo what makes the node.
type takenCase struct {
	why, path string
	change    func(*bootstrapv1.IngotConfigSpec)
}

func takenCases() []takenCase {
	file := func(why, path string) takenCase {
		return takenCase{why, "spec.files[0].path", func(c *bootstrapv1.IngotConfigSpec) {
			c.Files = []bootstrapv1.File{{Path: path, Content: new("")}}
		}}
	}
	unit := func(why, path string, unit bootstrapv1.Unit) takenCase {
		return takenCase{why, path, func(c *bootstrapv1.IngotConfigSpec) { c.Units = []bootstrapv1.Unit{unit} }}
	}
	const contents = "[Service]\nExecStart=/usr/bin/true\n"
	return []takenCase{
		file("a host name that is not the Machine's", "/etc/hostname"),
		file("a file that Ingot adds to", "/etc/hosts"),
		file("a file where Ingot needs a folder", "/etc/keepalived"),
		file("a file where the image is not changed", "/usr/local/bin/agent"),
		unit("an update that is masked", "spec.units[0].name", bootstrapv1.Unit{Name: "apt-daily.timer", Enabled: new(true)}),
		unit("another container runtime", "spec.units[0].contents", bootstrapv1.Unit{Name: "containerd.service", Contents: contents}),
		unit("another kubelet", "spec.units[0].contents", bootstrapv1.Unit{Name: "kubelet.service", Contents: contents}),
		unit("another holder of the virtual address", "spec.units[0].contents", bootstrapv1.Unit{Name: "keepalived.service", Contents: contents}),
		{"a registry's file that is listed as one", "spec.files[0].path", func(c *bootstrapv1.IngotConfigSpec) {
			c.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com"}}}}
			c.Files = []bootstrapv1.File{{Path: "/etc/containerd/certs.d/docker.io/hosts.toml", Content: new("")}}
		}},
	}
}

// Each renders every portable case that the family does not refuse, as a test of its own. Cases of one setting are left
// out, since others have all settings at once and programs take their time.
func (s Suite) Each(t *testing.T, do func(t *testing.T, in osfamily.Input, data []byte)) {
	t.Helper()
	for _, c := range osfamilytest.Cases(s.Select) {
		if _, refused := s.Refuses[c.Name]; refused || c.Without != nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { do(t, c.Input, s.Render(t, c.Input)) })
	}
}

// Input is the input of a portable case.
func (s Suite) Input(t *testing.T, name string) osfamily.Input {
	t.Helper()
	for _, c := range osfamilytest.Cases(s.Select) {
		if c.Name == name {
			return c.Input
		}
	}
	t.Fatalf("no case %s", name)
	return osfamily.Input{}
}

// Render renders an input that must be good.
func (s Suite) Render(t *testing.T, in osfamily.Input) []byte {
	t.Helper()
	bundle, report := s.Family.Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return bundle.Data
}

// Node is the node that the bundle of an input describes.
func (s Suite) Node(t *testing.T, in osfamily.Input) kubeadm.Node {
	t.Helper()
	node, err := s.Read(s.Render(t, in))
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// checkSecrets holds units to what all may know: they end up world-readable on the node, and their output on a console
// that the platform keeps. Neither may hold what lets a machine join.
func checkSecrets(t *testing.T, in osfamily.Input, node kubeadm.Node) {
	t.Helper()
	_, secret, _ := strings.Cut(in.Join.Token, ".")
	for _, file := range node.Files {
		if file.Mode&0o077 == 0 {
			continue
		}
		if strings.Contains(string(file.Data), secret) || strings.Contains(string(file.Data), "PRIVATE") || strings.Contains(string(file.Data), "Basic ") {
			t.Errorf("%s holds a secret and has mode %04o", file.Path, file.Mode)
		}
	}
	for _, unit := range node.Units {
		if strings.Contains(fmt.Sprint(unit), secret) {
			t.Errorf("unit %s holds the token", unit.Name)
		}
	}
}

// checkInitPrintsNoToken holds both ways of kubeadm to print a token shut, whatever phases the user skips.
func checkInitPrintsNoToken(t *testing.T, node kubeadm.Node) {
	t.Helper()
	text := Readable(node)
	if !strings.Contains(text, "- show-join-command\n") || !strings.Contains(text, "/usr/bin/kubeadm init --config /etc/ingot/kubeadm.yaml --skip-token-print\n") {
		t.Error("kubeadm init would print its token")
	}
}

// SelfUpdateOff asks for one unit of each world that the guard rails cover.
func SelfUpdateOff(node kubeadm.Node) bool {
	for _, name := range []string{"systemd-sysupdate.timer", "apt-daily-upgrade.timer", "zincati.service", "update-engine.service", "bootc-fetch-apply-updates.timer"} {
		if !slices.ContainsFunc(node.Units, func(u kubeadm.Unit) bool { return u.Name == name && u.Masked }) {
			return false
		}
	}
	return true
}

// Readable writes files and units as a person would look at them on the machine.
func Readable(node kubeadm.Node) string { return kubeadm.Readable(node) }
