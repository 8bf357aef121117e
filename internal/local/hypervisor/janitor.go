// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// sweep is what the janitor runs: it waits until its standard input ends, which happens when the process that started
// it is gone, and removes the network namespace with everybody in it, if it is still the same one.
const sweep = `ip=$1 namespace=$2
inode=$(stat -L -c %i "/run/netns/$namespace") || exit 0
read -r _
[ "$(stat -L -c %i "/run/netns/$namespace" 2>/dev/null)" = "$inode" ] || exit 0
for pid in $("$ip" netns pids "$namespace"); do kill -9 "$pid"; done
"$ip" netns delete "$namespace"`

// startJanitor cleans up behind a test that is killed: the kernel then ends libvirtd, but neither guests nor helpers.
// The state directory stays.
func startJanitor(l layout) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("janitor: %w", err)
	}
	defer func() { _ = reader.Close() }()
	cmd := &exec.Cmd{
		Path: "/bin/sh", Args: []string{"sh", "-c", sweep, "janitor", program("ip"), l.namespace},
		Stdin:       reader,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // Ctrl-C is for the test, not for who cleans up behind it
	}
	if err := cmd.Start(); err != nil {
		_ = writer.Close()
		return fmt.Errorf("janitor: %w", err)
	}
	go func() {
		_ = cmd.Wait()
		_ = writer.Close() // the janitor waits for just this, so it is only reached when someone killed it
	}()
	return nil
}
