// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/firstboot"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
)

const (
	unitFolder = "/etc/systemd/system/"
	// keepalived is a unit that images bring.
	keepalived = "/usr/lib/systemd/system/keepalived.service"
)

// cloud-init only warns of what it does not understand, on a console. Its schema is asked here.
func TestRealCloudInitAcceptsEveryBundle(t *testing.T) {
	m := newMachine(t)
	nodeSuite().Each(t, func(t *testing.T, _ osfamily.Input, data []byte) {
		t.Helper()
		if err := m.Judge(deadline(t), data); err != nil {
			t.Error(err)
		}
	})
	in := nodeSuite().Input(t, "worker")
	in.Config.CloudInit.UserData = everything
	if err := m.Judge(deadline(t), nodeSuite().Render(t, in)); err != nil {
		t.Errorf("what a user can add: %v", err)
	}
	if err := m.Judge(deadline(t), []byte("#cloud-config\nruncmd: 5\n")); err == nil {
		t.Error("cloud-init says nothing about what is wrong, so what it says of bundles proves nothing")
	}
}

// What cloud-init does is cloud-init's behaviour, not ours: it boots a machine here that is a folder.
func TestRealCloudInitMakesTheNode(t *testing.T) {
	for _, name := range []string{"init-vip-default-interface", "control-plane-full", "worker-self-update-allowed", "settings-init", "settings-worker"} {
		t.Run(name, func(t *testing.T) {
			data := nodeSuite().Render(t, nodeSuite().Input(t, name))
			node, err := cloudinit.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			m := newMachine(t)
			for _, path := range []string{"/etc/hosts", "/etc/services"} { // what is appended to
				put(t, m, path, "127.0.0.1 localhost\n")
			}
			put(t, m, unitFolder+"apt-daily.timer", "[Timer]\n")
			for _, name := range []string{"keepalived", "containerd", "multipathd"} { // units that images bring
				put(t, m, "/usr/lib/systemd/system/"+name+".service", "[Install]\n")
			}
			booted := boot(t, m, data)
			checkBooted(t, m, node, booted)

			// The volume goes once the node has joined. cloud-init must not take the machine for a new one then.
			if err := m.Eject(); err != nil {
				t.Fatal(err)
			}
			put(t, m, "/etc/ingot/kubeadm.yaml", "")
			again, err := m.Boot(deadline(t))
			if err != nil || len(again.Errors) > 0 {
				t.Fatalf("the second boot failed: %v, %q", err, again.Errors)
			}
			if again.Instance != booted.Instance || again.Hostname != node.Hostname {
				t.Errorf("at the second boot the machine is %q with the name %q, want %q and %q", again.Instance, again.Hostname, booted.Instance, node.Hostname)
			}
			if starts := startsOf(again); len(starts) > 0 || readMachine(t, m, "/etc/ingot/kubeadm.yaml") != "" {
				t.Errorf("the second boot did what belongs to the first: %q", starts)
			}
		})
	}
}

// A name with dots is one name, and the platform's name does not count.
func TestRealCloudInitTakesTheWholeName(t *testing.T) {
	in := nodeSuite().Input(t, "worker")
	in.Machine.Name = "node-1.harbour.example.com"
	m := newMachine(t)
	if booted := boot(t, m, nodeSuite().Render(t, in)); booted.Hostname != in.Machine.Name {
		t.Errorf("the host is called %q, want %q", booted.Hostname, in.Machine.Name)
	}
}

// cloud-init goes on after a failure. The node must not come up with a part of its files, or with updates on.
func TestRealCloudInitStartsNothingHalf(t *testing.T) {
	for _, tc := range []struct {
		why  string
		name string
		path string // of a file that is in the way
	}{
		{"without its authorities kubeadm would make others", "init-full", "/etc/kubernetes/pki/sa.key/in-the-way"},
		{"without its drop-in keepalived would not know its interface", "init-vip-default-interface", unitFolder + "keepalived.service.d"},
		{"an update that cannot be turned off would change the node", "worker", unitFolder + "zincati.service/in-the-way"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			m := newMachine(t)
			put(t, m, tc.path, "")
			put(t, m, keepalived, "[Install]\n")
			booted, err := bootWith(t, m, nodeSuite().Render(t, nodeSuite().Input(t, tc.name)))
			if err != nil {
				t.Fatal(err)
			}
			if starts := startsOf(booted); len(starts) > 0 {
				t.Errorf("%q was started, errors %q", starts, booted.Errors)
			}
			if len(booted.Errors) == 0 {
				t.Error("cloud-init knows of no error, so this test proves nothing")
			}
		})
	}
}

func newMachine(t *testing.T) *firstboot.Machine {
	t.Helper()
	root, err := firstboot.Root(t.Context(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatalf("this test needs the real cloud-init: %v", err)
	}
	m, err := firstboot.New(t.Context(), root, filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// boot is a first boot that must succeed.
func boot(t *testing.T, m *firstboot.Machine, data []byte) firstboot.Booted {
	t.Helper()
	booted, err := bootWith(t, m, data)
	if err != nil || len(booted.Errors) > 0 {
		t.Fatalf("the first boot failed: %v, %q", err, booted.Errors)
	}
	return booted
}

func bootWith(t *testing.T, m *firstboot.Machine, data []byte) (firstboot.Booted, error) {
	t.Helper()
	if err := m.Insert(data); err != nil {
		t.Fatal(err)
	}
	return m.Boot(deadline(t))
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kubeadmtest.Timeout)
	t.Cleanup(cancel)
	return ctx
}

// startsOf are the commands that start something.
func startsOf(booted firstboot.Booted) []string {
	var starts []string
	for _, command := range booted.Systemctl {
		if strings.Contains(command, "start") {
			starts = append(starts, command)
		}
	}
	return starts
}

// checkBooted compares the machine with the node: content, mode and owner of files, masks, and what runs.
func checkBooted(t *testing.T, m *firstboot.Machine, node kubeadm.Node, booted firstboot.Booted) {
	t.Helper()
	if booted.Hostname != node.Hostname || readMachine(t, m, "/etc/hostname") != node.Hostname+"\n" {
		t.Errorf("the host is called %q, and /etc/hostname says %q, want %q", booted.Hostname, readMachine(t, m, "/etc/hostname"), node.Hostname)
	}
	var starts []string
	for _, file := range node.Files {
		checkFile(t, m, file)
	}
	for _, unit := range node.Units {
		if unit.Masked {
			if target, err := os.Readlink(filepath.Join(m.Root, unitFolder, unit.Name)); err != nil || target != "/dev/null" {
				t.Errorf("%s is not masked: it points to %q, %v", unit.Name, target, err)
			}
			continue
		}
		if unit.Contents != "" {
			checkFile(t, m, kubeadm.File{Path: unitFolder + unit.Name, Mode: 0o644, Data: []byte(unit.Contents)})
		}
		for name, dropin := range unit.Dropins {
			checkFile(t, m, kubeadm.File{Path: unitFolder + unit.Name + ".d/" + name, Mode: 0o644, Data: []byte(dropin)})
		}
		if unit.Enabled {
			starts = append(starts, "--no-block restart "+unit.Name)
			if !slices.Contains(booted.Systemctl, "enable "+unit.Name) {
				t.Errorf("%s is not enabled: %q", unit.Name, booted.Systemctl)
			}
		}
	}
	if diff := cmp.Diff(starts, startsOf(booted)); diff != "" {
		t.Errorf("what was started differs (-want +got):\n%s", diff)
	}
}

func checkFile(t *testing.T, m *firstboot.Machine, want kubeadm.File) {
	t.Helper()
	info, err := os.Stat(filepath.Join(m.Root, want.Path))
	if err != nil {
		t.Error(err)
		return
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || info.Mode() != want.Mode || stat.Uid != 0 || stat.Gid != 0 {
		t.Errorf("%s has mode %v, or another owner than root, want mode %v", want.Path, info.Mode(), want.Mode)
	}
	content := string(want.Data)
	if want.Append {
		content = "127.0.0.1 localhost\n" + content
	}
	if diff := cmp.Diff(content, readMachine(t, m, want.Path)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", want.Path, diff)
	}
}

func put(t *testing.T, m *firstboot.Machine, path, content string) {
	t.Helper()
	path = filepath.Join(m.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), fs.FileMode(0o644)); err != nil {
		t.Fatal(err)
	}
}

func readMachine(t *testing.T, m *firstboot.Machine, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.Root, path))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}
