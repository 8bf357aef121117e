// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joho/godotenv"
	"github.com/mudler/yip/pkg/executor"
	"github.com/mudler/yip/pkg/logger"
	"github.com/mudler/yip/pkg/plugins"
	"github.com/mudler/yip/pkg/schema"
	"github.com/sirupsen/logrus"
	"github.com/twpayne/go-vfs/v4"
)

const (
	layoutFile = "/run/cos/cos-layout.env"
	unitFolder = "/etc/systemd/system/"
	userdata   = "/oem/95_userdata/userdata.yaml"
)

// machine is a folder that boots as immucore boots a disk: what an image brings is new at every boot, and what the layout names
// is mounted from the disk. yip and the programs of this host are real; no service manager runs, and nothing is kept in memory.
type machine struct {
	t *testing.T
	// root is the running system, and disk holds what outlives a boot.
	root, disk string
	// kept are the folders that are mounted from the disk at this boot.
	kept []string
	// commands are those that yip ran at this boot.
	commands []string
	// broken is a disk that cannot be mounted.
	broken bool
	// inTheWay is a path with a folder that is not empty; empty where there is none.
	inTheWay string
}

func newMachine(t *testing.T, config string) *machine {
	t.Helper()
	m := &machine{t: t, root: filepath.Join(t.TempDir(), "root"), disk: t.TempDir()}
	m.deliver(config)
	return m
}

// deliver saves a configuration as yip saves what a platform delivers: it executes templates in it.
func (m *machine) deliver(config string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.root+userdata), 0o755); err != nil {
		m.t.Fatal(err)
	}
	s := schema.Stage{Files: []schema.File{{Path: userdata, Content: config, Permissions: 0o644}}}
	if err := plugins.EnsureFiles(m.log(), s, vfs.NewPathFS(vfs.OSFS, m.root), m); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) log() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(m.t.Output())
	return log
}

// boot is one boot in a mode, which immucore says by the name of a file.
func (m *machine) boot(mode string) {
	m.t.Helper()
	m.shutDown()
	m.image()
	m.write("/run/cos/"+mode, "1")
	m.stage("rootfs")
	m.mount()
	if m.inTheWay != "" {
		m.write(m.inTheWay+"/a", "")
	}
	m.stage("initramfs")
	m.stage("boot")
}

// shutDown puts what is kept back to the disk, and forgets the rest.
func (m *machine) shutDown() {
	m.t.Helper()
	for _, folder := range m.kept {
		m.move(m.root+folder, m.disk+folder)
	}
	m.kept, m.commands = nil, nil
	for _, folder := range []string{"etc", "var", "run", "opt", "usr"} {
		if err := os.RemoveAll(filepath.Join(m.root, folder)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// image is what an image brings, as far as a node is concerned. Its units lie where images that are made for Kairos' own
// plug-in have them.
func (m *machine) image() {
	m.t.Helper()
	for _, folder := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+folder, filepath.Join(m.root, folder)); err != nil && !os.IsExist(err) {
			m.t.Fatal(err)
		}
	}
	for _, folder := range []string{"/proc", "/dev", "/usr/bin", "/tmp", "/run/cos", "/var/lib", "/opt", unitFolder} {
		if err := os.MkdirAll(m.root+folder, 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	m.write("/usr/bin/systemctl", "") // yip looks for it, and it is mounted over
	m.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	m.write("/etc/services", "ssh 22/tcp\n")
	for _, name := range []string{"containerd", "kubelet", "keepalived", "multipathd"} {
		m.write(unitFolder+name+".service", "[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n")
	}
	m.write(unitFolder+"apt-daily.timer", "[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n")
	m.write(layoutFile, "OVERLAY=\"tmpfs:25%\"\nPERSISTENT_STATE_PATHS=\"/etc/ssl/certs /home\"\nRW_PATHS=\"/var /etc /srv\"\nVOLUMES=\"LABEL=COS_PERSISTENT:/usr/local\"\n")
}

// mount mounts what the layout names, as immucore reads it.
func (m *machine) mount() {
	m.t.Helper()
	if m.broken {
		return
	}
	layout := m.layout()
	for folder := range strings.FieldsSeq(layout["PERSISTENT_STATE_PATHS"] + " " + layout["CUSTOM_BIND_MOUNTS"]) {
		if _, err := os.Stat(m.disk + folder); err == nil {
			if err := os.RemoveAll(m.root + folder); err != nil {
				m.t.Fatal(err)
			}
			m.move(m.disk+folder, m.root+folder)
		} else if err := os.MkdirAll(m.root+folder, 0o755); err != nil {
			m.t.Fatal(err)
		}
		m.kept = append(m.kept, folder)
	}
}

func (m *machine) layout() map[string]string {
	m.t.Helper()
	layout, err := godotenv.Read(m.root + layoutFile)
	if err != nil {
		m.t.Fatal(err)
	}
	return layout
}

func (m *machine) move(from, to string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		m.t.Fatal(err)
	}
}

// stage has yip execute a stage as immucore does, which takes no notice of what fails.
func (m *machine) stage(name string) {
	m.t.Helper()
	yip := executor.NewExecutor(executor.WithLogger(m.log()),
		executor.WithConditionals(plugins.IfConditional, plugins.IfServiceManager),
		// All of yip's that Ingot uses, in yip's order. The one for host names would rename this host.
		executor.WithPlugins(plugins.EnsureDirectories, plugins.EnsureFiles, plugins.Commands, hostname, plugins.Systemctl, plugins.Environment))
	root := vfs.NewPathFS(vfs.OSFS, m.root)
	for _, step := range []string{name + ".before", name, name + ".after"} {
		if err := yip.Run(step, root, m, "/oem"); err != nil {
			m.t.Logf("yip failed in stage %s: %v", step, err)
		}
	}
}

// hostname does what yip does beside renaming the running host.
func hostname(_ logger.Interface, s schema.Stage, root vfs.FS, _ plugins.Console) error {
	if s.Hostname == "" {
		return nil
	}
	if err := plugins.SystemHostname(s.Hostname, root); err != nil {
		return err
	}
	return plugins.UpdateHostsFile(s.Hostname, root)
}

// Run implements yip's console: a shell of the machine.
func (m *machine) Run(command string, _ ...func(*exec.Cmd)) (string, error) {
	m.commands = append(m.commands, command)
	return m.shell(command)
}

// Start implements yip's console.
func (m *machine) Start(*exec.Cmd, ...func(*exec.Cmd)) error {
	return errors.New("nothing starts here")
}

// RunTemplate implements yip's console.
func (m *machine) RunTemplate(words []string, template string) error {
	for _, word := range words {
		if out, err := m.Run(fmt.Sprintf(template, word)); err != nil {
			return fmt.Errorf("%s: %w: %s", fmt.Sprintf(template, word), err, out)
		}
	}
	return nil
}

// shell runs a command on the machine, with the programs of this host, and its folders mounted as they would be.
func (m *machine) shell(command string) (string, error) {
	script := `mount --rbind /usr "$1/usr"
mount --rbind /dev "$1/dev"
mount -t proc none "$1/proc"
root=$1 command=$2
shift 2
for folder; do mount --bind "$root$folder" "$root$folder"; done
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_OFFLINE=1 /bin/sh -c "$command"`
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--uts", "--net", "--ipc", "sh", "-ec", script, "sh", m.root, command}, m.kept...)
	out, err := exec.CommandContext(m.t.Context(), "unshare", args...).CombinedOutput()
	return string(out), err
}

// must runs a command that must succeed.
func (m *machine) must(command string) string {
	m.t.Helper()
	out, err := m.shell(command)
	if err != nil {
		m.t.Errorf("%s: %v: %s", command, err, out)
	}
	return out
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.root+path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.root+path, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// read is the content of a file; empty where there is none.
func (m *machine) read(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(m.root + path)
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(data)
}

// mode is the mode of a file; zero where there is none.
func (m *machine) mode(path string) fs.FileMode {
	info, err := os.Stat(m.root + path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}
