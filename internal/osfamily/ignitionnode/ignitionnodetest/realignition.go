// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
)

// Programs are the real ones.
type Programs struct{ kubeadmtest.Programs }

// RealPrograms builds Ignition and kubeadm where they are missing.
func RealPrograms(t *testing.T) Programs {
	t.Helper()
	return Programs{kubeadmtest.RealPrograms(t, "ignition", "kubeadm")}
}

// Apply runs the stages that a node without disks to prepare runs, with root as the root of the node. It says whether
// Ignition asked for the network.
func (p Programs) Apply(t *testing.T, config []byte, root string) bool {
	t.Helper()
	boot := p.FirstBoot(t, config, root)
	for _, stage := range []string{"fetch-offline", "fetch", "files"} {
		if out, err := boot.Stage(stage); err != nil {
			t.Fatalf("stage %s: %v\n%s", stage, err, out)
		}
	}
	return boot.NeedsNetwork()
}

// FirstBoot is one first boot of a node as Ignition sees it.
type FirstBoot struct {
	t        *testing.T
	ignition string
	config   string
	root     string
	scratch  string
}

// FirstBoot is a first boot of a node whose root is a folder.
func (p Programs) FirstBoot(t *testing.T, config []byte, root string) *FirstBoot {
	t.Helper()
	b := &FirstBoot{t: t, ignition: p.Programs["ignition"], root: root, scratch: t.TempDir()}
	b.config = filepath.Join(b.scratch, "config.ign")
	if err := os.WriteFile(b.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// Stage runs one stage and returns what Ignition said.
func (b *FirstBoot) Stage(name string) (string, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), kubeadmtest.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.ignition, "-platform", "file", "-stage", name, "-root", b.root, "-log-to-stdout",
		"-config-cache", filepath.Join(b.scratch, "cache"),
		"-state-file", filepath.Join(b.scratch, "state"),
		"-neednet", filepath.Join(b.scratch, "neednet"))
	cmd.Env = append(os.Environ(), "IGNITION_CONFIG_FILE="+b.config)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// NeedsNetwork is what the image asks after the stage fetch-offline.
func (b *FirstBoot) NeedsNetwork() bool { return Exists(filepath.Join(b.scratch, "neednet")) }

// Exists is whether something is there.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// CheckApplied compares the folder with the bundle: content, mode and owner of files, links, presets and masks. fetched is
// the content of what Ignition fetched, by path.
func CheckApplied(t *testing.T, data []byte, root string, fetched map[string]string) {
	t.Helper()
	config, err := ignition.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range config.Files {
		if file.Remote != (ignition.Remote{}) {
			file.Data = []byte(fetched[file.Path])
		}
		CheckFile(t, root, file)
	}
	for _, link := range config.Links {
		if target, err := os.Readlink(filepath.Join(root, link.Path)); err != nil || target != link.Target {
			t.Errorf("%s points to %q, %v, want %q", link.Path, target, err, link.Target)
		}
	}
	checkUnits(t, config.Units, root)
}

func checkUnits(t *testing.T, units []ignition.Unit, root string) {
	t.Helper()
	presets, err := os.ReadFile(filepath.Join(root, "etc/systemd/system-preset/20-ignition.preset"))
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range units {
		path := filepath.Join(root, "etc/systemd/system", unit.Name)
		if unit.Masked {
			if target, err := os.Readlink(path); err != nil || target != "/dev/null" {
				t.Errorf("%s is not masked: it points to %q, %v", unit.Name, target, err)
			}
			continue
		}
		if unit.Contents != "" {
			CheckFile(t, root, ignition.File{Path: "/etc/systemd/system/" + unit.Name, Mode: 0o644, Data: []byte(unit.Contents)})
		}
		for name, dropin := range unit.Dropins {
			CheckFile(t, root, ignition.File{Path: "/etc/systemd/system/" + unit.Name + ".d/" + name, Mode: 0o644, Data: []byte(dropin)})
		}
		if enabled := slices.Contains(strings.Split(string(presets), "\n"), "enable "+unit.Name); enabled != unit.Enabled {
			t.Errorf("%s enabled: %t, want %t; presets:\n%s", unit.Name, enabled, unit.Enabled, presets)
		}
	}
}

// CheckFile compares one file with what is wanted: content, mode and owner. A file without a mode gets Ignition's own.
func CheckFile(t *testing.T, root string, want ignition.File) {
	t.Helper()
	if want.Mode == 0 {
		want.Mode = 0o644
	}
	path := filepath.Join(root, want.Path)
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if info.Mode() != want.Mode {
		t.Errorf("%s has mode %v, want %v", want.Path, info.Mode(), want.Mode)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
		t.Errorf("%s does not belong to the one who ran Ignition", want.Path)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(got, want.Data) && (!want.Append || !bytes.HasSuffix(got, want.Data)) {
		t.Errorf("%s holds %q, want %q", want.Path, got, want.Data)
	}
}
