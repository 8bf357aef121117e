// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Acceleration is how guests run. Its value is the type of a libvirt domain.
type Acceleration string

// The two ways in which guests run.
const (
	// KVM means that a guest has really booted with hardware virtualization.
	KVM Acceleration = "kvm"
	// Emulated means that QEMU emulates the processor, which is some ten times slower.
	Emulated Acceleration = "qemu"
)

// bootDeadline is how long the trial guest may take.
const bootDeadline = 5 * time.Second

// DetectAcceleration boots a guest of 512 bytes with KVM and reports whether it ran, with the reason in one sentence.
// A device /dev/kvm alone proves nothing: inside of other virtual machines it may be there and interpret guests so slowly
// that they seem to hang.
func DetectAcceleration(ctx context.Context) (Acceleration, string) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return Emulated, "processors are emulated, because this machine has no /dev/kvm"
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return Emulated, "processors are emulated, because /dev/kvm cannot be opened: " + err.Error()
	}
	_ = device.Close()
	if err := bootTrialGuest(ctx, KVM); err != nil {
		return Emulated, "processors are emulated, because a trial guest did not boot with KVM: " + err.Error()
	}
	return KVM, "processors are virtualized by KVM: a trial guest has booted"
}

// exitStatus is what QEMU exits with when the guest writes 0x10 to the debug exit port.
const exitStatus = 0x10<<1 | 1

// trialGuest is the machine code of testdata/trialguest.s, which enters 64-bit mode, counts down from 300 million and
// ends QEMU. A processor needs a tenth of a second for that, QEMU's own emulation a second.
const trialGuest = "" +
	"fa31c08ed88ec0fcbf0010b90018f3abc70600100320c70600200330c7060030" +
	"830066b8a00000000f22e066b8001000000f22d866b9800000c00f32660d0001" +
	"00000f300f20c0660d010000800f22c0660f0116807cea5b7c0800b900a3e111" +
	"ffc975fcb010e6f4f4ebfd0f1f440000000000000000000000000000009a2000" +
	"0f00707c0000"

// bootSector is the trial guest as a disk.
func bootSector() ([]byte, error) {
	code, err := hex.DecodeString(trialGuest)
	if err != nil {
		return nil, fmt.Errorf("trial guest: %w", err)
	}
	sector := make([]byte, 512)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	return sector, nil
}

// bootTrialGuest boots the trial guest and returns nil if it ran.
func bootTrialGuest(ctx context.Context, how Acceleration) error {
	dir, err := os.MkdirTemp("", "ingot-trial-")
	if err != nil {
		return fmt.Errorf("scratch folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	disk := filepath.Join(dir, "disk")
	sector, err := bootSector()
	if err != nil {
		return err
	}
	if err := os.WriteFile(disk, sector, 0o600); err != nil {
		return fmt.Errorf("scratch disk: %w", err)
	}
	accel := map[Acceleration]string{KVM: "kvm", Emulated: "tcg"}[how]
	ctx, cancel := context.WithTimeoutCause(ctx, bootDeadline, fmt.Errorf("it did not end within %s, and a real processor needs a tenth of a second", bootDeadline))
	defer cancel()
	cmd := exec.CommandContext(ctx, program("qemu-system-x86_64"),
		"-accel", accel, "-machine", "pc", "-cpu", "max", "-m", "16", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-drive", "file="+disk+",format=raw,if=ide", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == exitStatus:
		return nil
	case err == nil:
		return errors.New("QEMU ended before the guest ran")
	default:
		return fmt.Errorf("%w %s", err, strings.TrimSpace(stderr.String()))
	}
}
