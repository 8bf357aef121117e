// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// domain is a machine as minimal as ours.
const domain = `<domain type='qemu'><name>%[1]s</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/><apic/></features>
<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Nehalem</model></cpu>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='unsafe'/><source file='%[2]s/%[1]s.qcow2'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><source network='%[3]s'/><model type='virtio'/><rom enabled='no'/></interface>
<serial type='file'><source path='%[2]s/%[1]s.log' append='on'/><target type='isa-serial' port='0'/></serial>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`

// virsh makes and removes as many domains by a plain loop of commands, and returns how long each took.
func (b *bench) virsh(ctx context.Context) (took [2]time.Duration, err error) {
	base := filepath.Join(b.host.PoolPath, "virsh-base.raw")
	if err := os.WriteFile(base, make([]byte, diskBytes), 0o644); err != nil {
		return took, err
	}
	defer func() { _ = os.Remove(base) }()
	if err := b.command(ctx, "pool-refresh", b.host.Pool); err != nil {
		return took, err
	}
	create := func(name string) error {
		file := filepath.Join(b.dir, name+".xml")
		if err := os.WriteFile(file, fmt.Appendf(nil, domain, name, b.host.PoolPath, b.host.Network), 0o600); err != nil {
			return err
		}
		return b.commands(ctx,
			[]string{"vol-create-as", b.host.Pool, name + ".qcow2", "1M", "--format", "qcow2", "--backing-vol", base, "--backing-vol-format", "raw"},
			[]string{"define", file}, []string{"start", name})
	}
	remove := func(name string) error {
		return b.commands(ctx, []string{"destroy", name}, []string{"undefine", name}, []string{"vol-delete", name + ".qcow2", "--pool", b.host.Pool})
	}
	for i, do := range []func(string) error{create, remove} {
		begin := time.Now()
		if err := b.inParallel(do); err != nil {
			return took, err
		}
		took[i] = time.Since(begin)
	}
	logs, err := filepath.Glob(filepath.Join(b.host.PoolPath, "virsh-*.log"))
	for _, log := range logs {
		err = errors.Join(err, os.Remove(log))
	}
	return took, errors.Join(err, b.command(ctx, "pool-refresh", b.host.Pool))
}

func (b *bench) inParallel(do func(name string) error) error {
	names := make(chan string)
	errs := make([]error, b.parallel)
	var all sync.WaitGroup
	for i := range b.parallel {
		all.Go(func() {
			for name := range names {
				errs[i] = errors.Join(errs[i], do(name))
			}
		})
	}
	for i := range b.n {
		names <- fmt.Sprintf("virsh-%d", i)
	}
	close(names)
	all.Wait()
	return errors.Join(errs...)
}

func (b *bench) commands(ctx context.Context, all ...[]string) error {
	for _, args := range all {
		if err := b.command(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "virsh", append([]string{"-q", "-c", b.host.URI}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("virsh %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
