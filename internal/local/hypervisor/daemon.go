// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// libvirtdConf lets root connect to the socket without further ado, and nobody else.
const libvirtdConf = `auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
max_clients = 5000
log_outputs = "3:stderr"
`

// qemuConf needs neither security drivers nor cgroups nor helpers of the machine.
const qemuConf = `user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
swtpm_user = "root"
swtpm_group = "root"
`

// privateView is run by a shell inside the network and mount namespace: it puts the private folders where libvirtd
// looks and becomes libvirtd. The whole of /run is private, so libvirtd finds no dbus, systemd or firewalld of the
// machine to talk to. A state directory below a folder that is replaced is carried over. A machine whose packages have
// made no /etc/libvirt gets an empty one and keeps it, since other private libvirtds may hang theirs on it.
const privateView = `set -e
state=$1 private=$2
shift 2
for dir in /run /var; do
  case "$state" in "$dir"/*)
    mkdir -p "$private$state"
    mount --bind "$state" "$private$state" ;;
  esac
  mount --rbind "$private$dir" "$dir"
done
mkdir -p /etc/libvirt
mount --bind "$private/etc" /etc/libvirt
mount --bind "$private/passwd" /etc/passwd
mount --bind "$private/group" /etc/group
exec "$@"`

// writePrivateFiles writes what privateView puts in place. libvirtd refuses to start where its default user is unknown,
// even if it is told to use another one; packages create that user only together with a libvirtd of the machine.
func (l layout) writePrivateFiles(libvirtdConf string) error {
	passwd, err := withLines("/etc/passwd", "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin")
	if err != nil {
		return err
	}
	group, err := withLines("/etc/group", "libvirt-qemu:x:64055:", "kvm:x:64056:")
	if err != nil {
		return err
	}
	for path, content := range map[string]string{
		l.private("etc", "libvirtd.conf"): libvirtdConf,
		l.private("etc", "qemu.conf"):     qemuConf,
		l.private("passwd"):               passwd,
		l.private("group"):                group,
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("configuration of libvirtd: %w", err)
		}
	}
	if err := os.Symlink("/run", l.private("var", "run")); err != nil && !os.IsExist(err) {
		return fmt.Errorf("private /var: %w", err)
	}
	return nil
}

// withLines is the content of an account file with the given entries, as far as their names are missing.
func withLines(path string, entries ...string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("accounts: %w", err)
	}
	text := "\n" + strings.TrimSpace(string(content)) + "\n"
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry, ":")
		if !strings.Contains(text, "\n"+name+":") {
			text += entry + "\n"
		}
	}
	return text[1:], nil
}

// startDaemon starts libvirtd in the namespaces, or adopts the one that runs there.
func startDaemon(ctx context.Context, l layout, o Options, conf string, args ...string) (*process.Process, error) {
	if err := l.writePrivateFiles(conf); err != nil {
		return nil, err
	}
	if !o.Child {
		return process.Start(l.daemon(args))
	}
	if err := startJanitor(l); err != nil {
		return nil, err
	}
	return process.StartChild(ctx, l.daemon(args))
}

// daemon is libvirtd with its private view of the machine.
func (l layout) daemon(args []string) process.Spec {
	return process.Spec{
		Name:    "libvirtd",
		Path:    program("libvirtd"),
		Args:    args,
		Through: []string{program("ip"), "netns", "exec", l.namespace, "/bin/sh", "-c", privateView, "private-view", l.dir, l.private()},
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"},
		Log:     l.logFile(),
		PIDFile: l.pidFile(),
	}
}

// awaitDaemon waits until libvirtd answers and runs use over the connection.
func awaitDaemon(ctx context.Context, p *process.Process, socket string, use func(conn) error) error {
	// The first start asks every QEMU what it can do, which takes seconds under load.
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("libvirtd has not answered within 2 minutes"))
	defer cancel()
	var last error
	err := process.Poll(ctx, func() (bool, error) {
		if !p.Running() {
			return false, errors.New(p.Ending())
		}
		last = withConnection(ctx, socket, nil)
		return last == nil, nil
	})
	if err != nil {
		if last != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w\n%s", err, last, process.Tail(p.Log(), 12))
		}
		return err
	}
	return withConnection(ctx, socket, use)
}
