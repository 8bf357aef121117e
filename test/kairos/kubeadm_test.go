// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos_test

import (
	"maps"
	"os"
	"path"
	"strings"
	"testing"
)

const (
	prove       = "/bin/sh /etc/ingot/prove"
	kubeadmYAML = "/etc/ingot/kubeadm.yaml"
	address     = "127.0.1.1 harbour-node-1\n"
)

// bundlesOf are those of a distribution.
func bundlesOf(t *testing.T, distribution string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, b := range bundles(t) {
		if b.distribution == distribution {
			all[b.name] = b.text
		}
	}
	return all
}

// What is on the machine when kubeadm would run, and again after the node has joined and the machine has booted once more, is what
// Kairos' own code makes of the bundle.
func TestMachinesBecomeNodesOnce(t *testing.T) {
	t.Parallel()
	all := bundlesOf(t, "kubeadm")
	for _, name := range []string{
		"init", "init-full", "init-vip-default-interface", "control-plane", "control-plane-full", "worker", "worker-full",
		"settings-init", "settings-control-plane", "settings-worker", "worker-self-update-allowed", "worker-cloud-config",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if all[name] == "" {
				t.Fatal("there is no such golden file")
			}
			m := newMachine(t, all[name])
			m.boot("active_mode")
			checkReady(m, name)
			if out := m.must(prove); !strings.Contains(out, kubeadmYAML+": OK\n") {
				t.Errorf("the proof does not cover what kubeadm reads: %q", out)
			}
			if mode := m.mode(kubeadmYAML); mode != 0o600 {
				t.Errorf("%s has mode %04o", kubeadmYAML, mode)
			}
			if mode := m.mode(path.Dir(userdata)); mode != 0o700 {
				t.Errorf("everybody may read what was delivered: its folder has mode %04o", mode)
			}
			checkAuthorities(m, name)

			// kubeadm makes the node, its unit takes the token away, and somebody changes an authority later.
			m.write("/etc/kubernetes/kubelet.conf", "joined")
			m.write("/etc/kubernetes/pki/ca.crt", "rotated")
			m.write("/var/lib/etcd/member/wal", "data")
			m.write("/var/lib/kubelet/config.yaml", "config")
			m.write("/var/lib/elsewhere", "lost")
			m.must("rm " + kubeadmYAML)

			m.boot("active_mode")
			checkReady(m, name)
			for file, want := range map[string]string{
				kubeadmYAML: "", "/etc/ingot/files.sha256": "", "/etc/kubernetes/kubelet.conf": "joined", "/etc/kubernetes/pki/ca.crt": "rotated",
				"/var/lib/etcd/member/wal": "data", "/var/lib/kubelet/config.yaml": "config", "/var/lib/elsewhere": "",
			} {
				if got := m.read(file); got != want {
					t.Errorf("after the second boot %s holds %q, want %q", file, got, want)
				}
			}
		})
	}
}

// The token of a worker of k3s or k0s is in what was delivered as well, which Kairos saves for everybody to read and keeps for ever.
func TestWorkersTokensAreForRootOnly(t *testing.T) {
	t.Parallel()
	for distribution, file := range map[string]string{"k3s": "/etc/rancher/k3s/ingot-token", "k0s": "/etc/k0s/ingot-token"} {
		for name, config := range bundlesOf(t, distribution) {
			t.Run(distribution+"/"+name, func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, config)
				if mode := m.mode(path.Dir(userdata)); mode&0o055 == 0 {
					t.Fatalf("yip saves into a folder with mode %04o, so this test proves nothing", mode)
				}
				m.boot("active_mode")
				if token := strings.TrimSpace(m.read(file)); token == "" || !strings.Contains(m.read(userdata), token) {
					t.Errorf("%s holds %q, which is not what was delivered", file, token)
				}
				for of, want := range map[string]os.FileMode{file: 0o600, path.Dir(userdata): 0o700} {
					if mode := m.mode(of); mode != want {
						t.Errorf("%s has mode %04o, want %04o", of, mode, want)
					}
				}
			})
		}
	}
}

// checkReady checks what must be so at every boot.
func checkReady(m *machine, name string) {
	m.t.Helper()
	if got := m.read("/etc/hostname"); got != "harbour-node-1\n" {
		m.t.Errorf("the host is called %q", got)
	}
	if hosts := m.read("/etc/hosts"); strings.Count(hosts, address) != 1 || !strings.Contains(hosts, "localhost") {
		m.t.Errorf("/etc/hosts is %q", hosts)
	}
	enabled := "containerd.service kubelet.service ingot-bootstrap.service"
	if strings.HasPrefix(name, "settings-") || strings.HasSuffix(name, "-full") {
		enabled += " " + strings.Join(m.settingsUnits(), " ")
	}
	for unit := range strings.FieldsSeq(enabled) {
		if state := strings.TrimSpace(m.must("systemctl is-enabled " + unit)); state != "enabled" {
			m.t.Errorf("%s is %s", unit, state)
		}
		if start := m.startCommand(); !strings.Contains(start+" ", " "+unit+" ") {
			m.t.Errorf("%s is not started by %q", unit, start)
		}
	}
	state, _ := m.shell("systemctl is-enabled apt-daily.timer")
	if allowed := strings.Contains(name, "self-update-allowed"); (strings.TrimSpace(state) == "masked") == allowed {
		m.t.Errorf("apt-daily.timer is %s", state)
	}
	layout := m.layout()
	if layout["PERSISTENT_STATE_PATHS"] != "/etc/ssl/certs /home" || layout["VOLUMES"] != "LABEL=COS_PERSISTENT:/usr/local" || layout["OVERLAY"] != "tmpfs:25%" {
		m.t.Errorf("the image's own layout was changed: %v", layout)
	}
}

// startCommand is the command of a boot that starts units.
func (m *machine) startCommand() string {
	for _, command := range m.commands {
		if strings.HasPrefix(command, "systemctl --no-block start ") {
			return command
		}
	}
	return ""
}

// settingsUnits are units that a bundle brings with an [Install] section.
func (m *machine) settingsUnits() []string {
	var names []string
	for _, name := range []string{"ingot-settings.service", "keepalived.service"} {
		if m.read(unitFolder+name) != "" && (name != "keepalived.service" || m.read("/etc/keepalived/keepalived.conf") != "") {
			names = append(names, name)
		}
	}
	return names
}

// checkAuthorities looks at what only control planes have.
func checkAuthorities(m *machine, name string) {
	m.t.Helper()
	if strings.Contains(name, "worker") {
		if m.mode("/etc/kubernetes/pki") != 0 {
			m.t.Error("a worker has keys of its cluster")
		}
		return
	}
	for name, mode := range map[string]os.FileMode{
		"ca.key": 0o600, "etcd/ca.key": 0o600, "front-proxy-ca.key": 0o600, "sa.key": 0o600,
		"ca.crt": 0o644, "etcd/ca.crt": 0o644, "front-proxy-ca.crt": 0o644, "sa.pub": 0o644,
	} {
		if got := m.mode("/etc/kubernetes/pki/" + name); got != mode {
			m.t.Errorf("%s has mode %04o, want %04o", name, got, mode)
		}
	}
	if mode := m.mode("/var/lib/etcd"); mode != 0o700 {
		m.t.Errorf("/var/lib/etcd has mode %04o", mode)
	}
}

// yip passes over what fails. Whatever is missing, kubeadm must not run then.
func TestKubeadmDoesNotRunWhereTheMachineIsNotWhatWasDescribed(t *testing.T) {
	t.Parallel()
	for why, tc := range map[string]struct {
		bundle, says  string
		before, after func(*machine)
	}{
		"without the key of its service accounts kubeadm would make another": {
			bundle: "init-full", says: "/etc/kubernetes/pki/sa.key: FAILED",
			before: func(m *machine) { m.inTheWay = "/etc/kubernetes/pki/sa.key" },
		},
		"a file that was changed is another one": {
			bundle: "settings-worker", says: "FAILED",
			after: func(m *machine) { m.must("echo >>/etc/sysctl.d/99-z-ingot.conf") },
		},
		"an update that is not masked would change the node": {
			bundle: "worker", says: "zincati.service is not masked",
			before: func(m *machine) { m.inTheWay = unitFolder + "zincati.service" },
		},
		"a text that cannot be added is missing": {
			bundle: "worker", says: "/etc/hosts",
			after: func(m *machine) { m.must("rm /etc/hosts && mkdir /etc/hosts") },
		},
		"a machine that keeps nothing would make its cluster anew": {
			bundle: "init", says: "/etc/kubernetes is not kept",
			before: func(m *machine) { m.broken = true },
		},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, bundlesOf(t, "kubeadm")[tc.bundle])
			if tc.before != nil {
				tc.before(m)
			}
			m.boot("active_mode")
			if tc.after != nil {
				tc.after(m)
			}
			if out, err := m.shell(prove); err == nil || !strings.Contains(out, tc.says) {
				t.Errorf("the machine proves itself (%v), and says %q, want %q", err, out, tc.says)
			}
		})
	}
}

// A control plane node whose disk cannot be mounted finds neither its etcd nor a trace of having joined. It must not begin a
// cluster with the same name and the same authorities.
func TestANodeThatLostItsDiskDoesNotBeginAnew(t *testing.T) {
	m := newMachine(t, bundlesOf(t, "kubeadm")["init"])
	m.boot("active_mode")
	m.must(prove)
	m.write("/etc/kubernetes/kubelet.conf", "joined")
	m.broken = true
	m.boot("active_mode")
	if m.read("/etc/kubernetes/kubelet.conf") != "" {
		t.Fatal("the disk is there, so this test proves nothing")
	}
	if out, err := m.shell(prove); err == nil {
		t.Errorf("kubeadm init would run again: %s", out)
	}
}

// A recovery system and an installer read the same configuration.
func TestNothingIsWrittenWhereKairosIsNotInstalled(t *testing.T) {
	for _, mode := range []string{"recovery_mode", "autoreset_mode", "live_mode", "unknown"} {
		m := newMachine(t, bundlesOf(t, "kubeadm")["control-plane-full"])
		m.boot(mode)
		if entries, err := os.ReadDir(m.root + "/etc/ingot"); err == nil {
			t.Errorf("%s: %v was written", mode, entries)
		}
		if _, kept := m.layout()["CUSTOM_BIND_MOUNTS"]; kept {
			t.Errorf("%s: the layout was changed", mode)
		}
		for _, command := range m.commands {
			if strings.Contains(command, "systemctl") {
				t.Errorf("%s: %s", mode, command)
			}
		}
	}
	m := newMachine(t, bundlesOf(t, "kubeadm")["control-plane-full"])
	m.boot("passive_mode")
	m.must(prove)
}

// Files arrive byte for byte, though yip executes templates when it saves what was delivered and when it writes a file. With
// kubeadm, what is added to a file is added once, whether the file outlives a boot or not.
func TestFilesOfUsersArriveAsTheyAre(t *testing.T) {
	worker := map[string]string{
		"/etc/opt/quotes.conf":                    "{{ `a {{ b }}` }} {{`{{`}} {{\"{{\"}} \"{{ printf \"%q\" `c` }}\" '{{ d }}' {{{{ e }}}} {{/* f */}}\ng {{",
		unitFolder + "braces.service":             "[Service]\nExecStart=/usr/bin/echo {{.State.Running}}\n",
		unitFolder + "braces.service.d/10-a.conf": "[Service]\nEnvironment=A={{b}}\n",
		"/etc/opt/own.conf":                       "a TEMPLATE", // of cloudConfig, which is Kairos' own language
	}
	for distribution, more := range map[string]map[string]string{
		"kubeadm": {"/etc/services": "ssh 22/tcp\na {{ b }}"},
		"k3s":     worker,
		"k0s":     worker,
	} {
		t.Run(distribution, func(t *testing.T) {
			want := map[string]string{
				"/etc/opt/braces.conf":   "a {{ .Values.node.hostname }} {{{b}}} {{- c -}}\n# $x %h\n",
				"/etc/opt/template.conf": "host {{ .Values.node.hostname }}\n", // which yip could execute
				"/etc/opt/key":           "\x00\xff{{{\n",
			}
			maps.Copy(want, more)
			m := newMachine(t, bundlesOf(t, distribution)["worker-braces"])
			for range 2 {
				m.boot("active_mode")
				m.stage("initramfs") // where the configuration arrived late, Kairos does it again
				for file, want := range want {
					if got := m.read(file); got != want {
						t.Errorf("%s holds %q, want %q", file, got, want)
					}
				}
			}
		})
	}
}
