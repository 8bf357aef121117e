// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Stop turns all guests off, ends libvirtd and its helpers, and removes namespace, links, route and state, disks of
// guests included. It may be repeated, and also removes what a Start or Stop that was killed half way has left. Only
// Name and StateDir of the options matter.
func Stop(ctx context.Context, o Options) error {
	l, err := newLayout(o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(l.dir); err == nil { // else nobody else can be at work on it
		unlock, err := l.lock(ctx)
		if err != nil {
			return fmt.Errorf("hypervisor %s: %w", o.Name, err)
		}
		defer unlock()
	}
	if err := down(ctx, l); err != nil {
		return fmt.Errorf("stopping hypervisor %s: %w; run it again to go on", o.Name, err)
	}
	return nil
}

// StopDaemon ends libvirtd alone; guests, network and state stay, and Start continues. It is what a restart of
// libvirtd on a real host looks like.
func StopDaemon(ctx context.Context, o Options) error {
	l, err := newLayout(o)
	if err != nil {
		return err
	}
	return process.Stop(ctx, "libvirtd", l.pidFile(), 20*time.Second)
}

func down(ctx context.Context, l layout) error {
	daemon, err := process.Find("libvirtd", l.pidFile(), l.logFile())
	if err != nil {
		return err
	}
	if daemon != nil {
		// In order if libvirtd answers. Where it does not, its processes are killed below.
		polite, cancel := context.WithTimeout(ctx, 30*time.Second)
		_ = withConnection(polite, l.socket(), destroyDomains)
		cancel()
	}
	if err := process.Stop(ctx, "libvirtd", l.pidFile(), 20*time.Second); err != nil {
		return err
	}
	if err := killAllIn(ctx, l.namespace); err != nil {
		return err
	}
	if err := removeUplink(ctx, l); err != nil {
		return err
	}
	return l.forget()
}

// killAllIn ends every process in the network namespace: guests that survived, dnsmasq, swtpm.
func killAllIn(ctx context.Context, namespace string) error {
	inode, err := os.Stat(filepath.Join("/run/netns", namespace))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("processes in its network namespace survive SIGKILL"))
	defer cancel()
	return process.Poll(ctx, func() (bool, error) {
		left, err := membersOf(inode)
		for _, p := range left {
			_ = p.Signal(syscall.SIGKILL) // if it has ended meanwhile, so much the better
			_ = p.Release()
		}
		return len(left) == 0, err
	})
}

// membersOf opens every process whose network namespace is the given one. The handle is opened before the namespace is
// compared, so it cannot mean another process later.
func membersOf(namespace os.FileInfo) ([]*os.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var members []*os.Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil || !os.SameFile(its, namespace) {
			_ = p.Release()
			continue
		}
		members = append(members, p)
	}
	return members, nil
}

func removeUplink(ctx context.Context, l layout) error {
	exists, err := namespaceExists(ctx, l.namespace)
	if err != nil {
		return err
	}
	if exists {
		if _, err := ip(ctx, "netns", "delete", l.namespace); err != nil {
			return err
		}
	}
	if !linkExists(l.link) {
		return nil // it went with the namespace that held its other end
	}
	_, err = ip(ctx, "link", "delete", l.link)
	if !linkExists(l.link) {
		return nil // the kernel was faster
	}
	return err
}
