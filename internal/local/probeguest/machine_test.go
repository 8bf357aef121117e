// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// bootLimit is long: the machines of all cases share two processors with other tests.
const bootLimit = 4 * time.Minute

// machine is a probe guest that plain QEMU runs, without libvirt and without Ingot.
type machine struct {
	t       *testing.T
	dir     string
	process *process.Process
}

// newMachine makes the folder of a machine. Its name is short, since sockets are in it.
func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &machine{t: t, dir: dir}
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// file makes a file with this content and returns its path.
func (m *machine) file(name, content string) string {
	m.t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) tool(name string, args ...string) {
	m.t.Helper()
	if err := (assembly.Tool{Name: name, Args: args}).Run(m.t.Context()); err != nil {
		m.t.Fatalf("%v; the packages are %v", err, probeguest.HostPackages())
	}
}

// start starts a program that dies with the test.
func (m *machine) start(name, path string, args ...string) *process.Process {
	m.t.Helper()
	p, err := process.StartChild(context.Background(), process.Spec{
		Name: name, Path: path, Args: args, Log: m.path(name + ".log"), PIDFile: m.path(name + ".pid"),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := p.Stop(context.Background(), 0); err != nil {
			m.t.Error(err)
		}
	})
	return p
}

// uefi are arguments for a firmware with variables of the machine's own. Variables with Microsoft's keys make it check
// signatures.
func (m *machine) uefi(kind string) []string {
	m.t.Helper()
	const firmware = "/usr/share/OVMF/"
	m.tool("cp", firmware+"OVMF_VARS_4M"+kind+".fd", m.path("vars.fd"))
	return []string{
		"-global", "driver=cfi.pflash01,property=secure,value=on",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + firmware + "OVMF_CODE_4M" + kind + ".fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + m.path("vars.fd"),
	}
}

// tpm starts an emulated TPM and returns the arguments for it.
func (m *machine) tpm() []string {
	m.t.Helper()
	state, socket := m.path("tpm"), m.path("tpm.sock")
	if err := os.Mkdir(state, 0o700); err != nil {
		m.t.Fatal(err)
	}
	m.tool("swtpm_setup", "--tpm2", "--tpmstate", state, "--pcr-banks", "sha256")
	m.start("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--ctrl", "type=unixio,path="+socket)
	m.await("the TPM's socket", time.Minute, func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	return []string{"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"}
}

// boot powers the machine on with an overlay over the image and waits for all that the guest says.
func (m *machine) boot(image probeguest.Image, args ...string) probeguest.Report {
	m.t.Helper()
	m.tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", image.Path, "-F", image.Format, m.path("disk.qcow2"))
	m.process = m.start("qemu", "qemu-system-x86_64", append([]string{
		"-accel", "tcg", "-cpu", "Nehalem", "-machine", "q35,smm=on,hpet=off", "-m", "256",
		"-nodefaults", "-no-user-config", "-display", "none",
		"-serial", "file:" + m.path("console"), "-qmp", "unix:" + m.path("qmp") + ",server=on,wait=off",
		"-drive", "if=none,id=disk,cache=unsafe,format=qcow2,file=" + m.path("disk.qcow2"),
		"-device", "virtio-blk-pci,drive=disk,bootindex=1,serial=probe-disk",
	}, args...)...)
	return m.awaitLine(probeguest.Done)
}

// awaitLine waits until the guest has said something, and returns all that it has said.
func (m *machine) awaitLine(key string) probeguest.Report {
	m.t.Helper()
	var report probeguest.Report
	m.await("the line "+key, bootLimit, func() bool {
		ended := !m.process.Running()
		report = m.report()
		if !report.Has(key) && ended {
			m.t.Fatal(m.process.Ending())
		}
		return report.Has(key)
	})
	if report.Has(probeguest.Failed) {
		m.t.Errorf("the guest could not look everywhere: %q", report[probeguest.Failed])
	}
	return report
}

func (m *machine) report() probeguest.Report {
	m.t.Helper()
	console, err := os.ReadFile(m.path("console"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return probeguest.ParseConsole(console)
}

func (m *machine) await(what string, limit time.Duration, done func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	if err := process.Poll(ctx, func() (bool, error) { return done(), nil }); err != nil {
		m.t.Fatalf("waiting for %s: %v; the console ends with:\n%s", what, err, process.Tail(m.path("console"), 20))
	}
}

// pressPowerButton does what a clean shutdown of a machine begins with.
func (m *machine) pressPowerButton() {
	m.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(m.t.Context(), "unix", m.path("qmp"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewScanner(conn)
	answers.Scan() // the greeting
	for _, command := range []string{"qmp_capabilities", "system_powerdown"} {
		if _, err := fmt.Fprintf(conn, "{\"execute\": %q}\n", command); err != nil {
			m.t.Fatal(err)
		}
		for answered := false; !answered; {
			if !answers.Scan() {
				m.t.Fatalf("%s: no answer: %v", command, answers.Err())
			}
			var answer map[string]json.RawMessage
			if err := json.Unmarshal(answers.Bytes(), &answer); err != nil || answer["error"] != nil {
				m.t.Fatalf("%s: %s %v", command, answers.Bytes(), err)
			}
			_, answered = answer["return"] // there may be events before it
		}
	}
}

// awaitPowerOff waits until the guest has powered itself off.
func (m *machine) awaitPowerOff() {
	m.t.Helper()
	m.await("power off", time.Minute, func() bool { return !m.process.Running() })
	if report := m.report(); !report.Has(probeguest.PowerOffRequested) {
		m.t.Errorf("the machine is off, but the guest did not say that it powers off: %q", report)
	}
}
