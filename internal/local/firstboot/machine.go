// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// Machine is a machine that cloud-init can boot.
type Machine struct {
	// Root is the folder that it takes for the root of its file system.
	Root string
}

// Paths on the machine.
const (
	seedFolder = "var/lib/cloud/seed/nocloud"
	instance   = "var/lib/cloud/data/instance-id"
	resultFile = "run/cloud-init/result.json"
	systemdLog = "var/log/systemctl"
	schemaFile = "tmp/user-data"
)

// systemctl writes down what it is told, and fails where systemd's would: it enables no unit that is not there.
const systemctl = `#!/bin/sh
echo "$*" >>/` + systemdLog + `
[ "$1" != enable ] || [ -e "/etc/systemd/system/$2" ] || [ -e "/usr/lib/systemd/system/$2" ]
`

// machineFiles make a machine of the unpacked packages. cloud-init does no more than what user data of ours asks for:
// everything else would look for disks and networks, and find those of the host.
func machineFiles() []file {
	return []file{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"},
		{"etc/group", "root:x:0:\n"},
		{"usr/bin/systemctl", systemctl},
		{"etc/cloud/cloud.cfg.d/99-ingot-test.cfg", `datasource_list: [NoCloud, None]
datasource: {NoCloud: {fs_label: null}}
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, update_etc_hosts]
cloud_config_modules: [runcmd]
cloud_final_modules: [package-update-upgrade-install, scripts-user]
`},
	}
}

type file struct{ path, content string }

// New makes a machine of what Root returned in the folder dir, which must not exist.
func New(ctx context.Context, root, dir string) (*Machine, error) {
	if err := (assembly.Tool{Name: "cp", Args: []string{"-a", root, dir}}).Run(ctx); err != nil {
		return nil, err
	}
	m := &Machine{Root: dir}
	for _, folder := range []string{"proc", "tmp", "etc/systemd/system"} {
		if err := os.MkdirAll(m.path(folder), 0o755); err != nil {
			return nil, err
		}
	}
	for _, f := range machineFiles() {
		if err := m.write(f.path, f.content, 0o755); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Judge has cloud-init compare user data with its schema.
func (m *Machine) Judge(ctx context.Context, userData []byte) error {
	if err := m.write(schemaFile, string(userData), 0o600); err != nil {
		return err
	}
	_, err := m.run(ctx, "cloud-init schema --config-file /"+schemaFile)
	return err
}

// Insert gives the machine a NoCloud volume, whose meta-data says another host name than the user data.
func (m *Machine) Insert(userData []byte) error {
	if err := m.write(seedFolder+"/meta-data", "instance-id: 6f0c9d2e\nlocal-hostname: of-the-platform\n", 0o600); err != nil {
		return err
	}
	return m.write(seedFolder+"/user-data", string(userData), 0o600)
}

// Eject takes the volume away.
func (m *Machine) Eject() error { return os.RemoveAll(m.path(seedFolder)) }

// Booted is what a boot did.
type Booted struct {
	// Instance is the machine that cloud-init takes this one for. What belongs to a first boot is done for each.
	Instance string
	// Hostname is the name that the kernel has in the end.
	Hostname string
	// Systemctl are the commands that systemd was given, in their order.
	Systemctl []string
	// Errors are those of which cloud-init knows. It goes on after each of them.
	Errors []string
}

// Boot runs all stages of cloud-init, in the order in which systemd runs them.
func (m *Machine) Boot(ctx context.Context) (Booted, error) {
	for _, path := range []string{"run", systemdLog} {
		if err := os.RemoveAll(m.path(path)); err != nil {
			return Booted{}, err
		}
	}
	if err := os.Mkdir(m.path("run"), 0o755); err != nil {
		return Booted{}, err
	}
	hostname, err := m.run(ctx, `[ ! -e /etc/hostname ] || hostname "$(cat /etc/hostname)" # as systemd does
for stage in "init --local" init "modules --mode=config" "modules --mode=final"; do
    cloud-init $stage >/dev/null 2>&1 || true
done
hostname`)
	if err != nil {
		return Booted{}, err
	}
	return m.booted(strings.TrimSpace(hostname))
}

// booted reads what a boot left.
func (m *Machine) booted(hostname string) (Booted, error) {
	result, err := os.ReadFile(m.path(resultFile))
	if err != nil {
		return Booted{}, fmt.Errorf("cloud-init did not come to its end: %w", err)
	}
	var status struct {
		V1 struct {
			Errors []string `json:"errors"`
		} `json:"v1"`
	}
	if err := json.Unmarshal(result, &status); err != nil {
		return Booted{}, fmt.Errorf("%s: %w", resultFile, err)
	}
	id, err := os.ReadFile(m.path(instance))
	if err != nil {
		return Booted{}, err
	}
	commands, err := os.ReadFile(m.path(systemdLog))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Booted{}, err
	}
	return Booted{
		Instance: strings.TrimSpace(string(id)), Hostname: hostname,
		Systemctl: strings.Split(strings.TrimSpace(string(commands)), "\n"), Errors: status.V1.Errors,
	}, nil
}

// run runs a script on the machine. It has a host name, processes and a network of its own, and sees no device.
func (m *Machine) run(ctx context.Context, script string) (string, error) {
	return assembly.Tool{
		Name: "unshare",
		Args: []string{
			"--mount", "--pid", "--fork", "--kill-child", "--uts", "--net", "--ipc", "sh", "-ec",
			`hostname localhost
mount -t proc none "$1/proc"
exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -ec "$2"`,
			"sh", m.Root, script,
		},
	}.Output(ctx)
}

func (m *Machine) path(path string) string { return filepath.Join(m.Root, path) }

func (m *Machine) write(path, content string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(m.path(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(m.path(path), []byte(content), mode)
}
