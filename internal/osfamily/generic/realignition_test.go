// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

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

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// The programs that read a bundle on the node judge it here: Ignition applies it to a folder, kubeadm reads the
// configuration that it finds there. Whatever they do not like would otherwise be seen on a console only.
func TestRealProgramsAcceptEveryBundle(t *testing.T) {
	programs := realPrograms(t)
	for _, c := range osfamilytest.Cases(selectGeneric) {
		if c.Input.Restore != nil {
			continue // TestRealIgnitionFetchesWhatIsRestored serves the files
		}
		t.Run(c.Name, func(t *testing.T) {
			bundle, report := generic.New().Render(c.Input)
			if err := report.Err(); err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			programs.applyIgnition(t, bundle.Data, root)
			checkApplied(t, bundle.Data, root)
			programs.Run(t, "kubeadm", "config", "validate", "--config", filepath.Join(root, "etc/ingot/kubeadm.yaml"))
		})
	}
}

// programs are the real ones.
type programs struct{ kubeadmtest.Programs }

func realPrograms(t *testing.T) programs {
	t.Helper()
	return programs{kubeadmtest.RealPrograms(t, "ignition", "kubeadm")}
}

// applyIgnition runs the stages that a node without disks to prepare runs, with root as the root of the node.
func (p programs) applyIgnition(t *testing.T, config []byte, root string) {
	t.Helper()
	boot := p.firstBoot(t, config, root)
	for _, stage := range []string{"fetch-offline", "fetch", "files"} {
		if out, err := boot.stage(stage); err != nil {
			t.Fatalf("stage %s: %v\n%s", stage, err, out)
		}
	}
	if boot.needsNetwork() {
		t.Error("the bundle wants the network before the root is up")
	}
}

// firstBoot is one first boot of a node as Ignition sees it.
type firstBoot struct {
	t        *testing.T
	ignition string
	config   string
	root     string
	scratch  string
}

func (p programs) firstBoot(t *testing.T, config []byte, root string) *firstBoot {
	t.Helper()
	b := &firstBoot{t: t, ignition: p.Programs["ignition"], root: root, scratch: t.TempDir()}
	b.config = filepath.Join(b.scratch, "config.ign")
	if err := os.WriteFile(b.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// stage runs one stage and returns what Ignition said.
func (b *firstBoot) stage(name string) (string, error) {
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

// needsNetwork is what the image asks after the stage fetch-offline.
func (b *firstBoot) needsNetwork() bool { return exists(filepath.Join(b.scratch, "neednet")) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkApplied compares the folder with the bundle: content, mode and owner of files, presets and masks.
func checkApplied(t *testing.T, data []byte, root string) {
	t.Helper()
	config, err := ignition.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range config.Files {
		checkFile(t, root, file)
	}
	presets, err := os.ReadFile(filepath.Join(root, "etc/systemd/system-preset/20-ignition.preset"))
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range config.Units {
		path := filepath.Join(root, "etc/systemd/system", unit.Name)
		if unit.Masked {
			if target, err := os.Readlink(path); err != nil || target != "/dev/null" {
				t.Errorf("%s is not masked: it points to %q, %v", unit.Name, target, err)
			}
			continue
		}
		if unit.Contents != "" {
			checkFile(t, root, ignition.File{Path: "/etc/systemd/system/" + unit.Name, Mode: 0o644, Data: []byte(unit.Contents)})
		}
		for name, dropin := range unit.Dropins {
			checkFile(t, root, ignition.File{Path: "/etc/systemd/system/" + unit.Name + ".d/" + name, Mode: 0o644, Data: []byte(dropin)})
		}
		if enabled := slices.Contains(strings.Split(string(presets), "\n"), "enable "+unit.Name); enabled != unit.Enabled {
			t.Errorf("%s enabled: %t, want %t; presets:\n%s", unit.Name, enabled, unit.Enabled, presets)
		}
	}
}

func checkFile(t *testing.T, root string, want ignition.File) {
	t.Helper()
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
