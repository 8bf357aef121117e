// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hostpackages_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hostpackages"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

var errFailed = errors.New("exit status 100")

// machine answers as apt and dpkg would.
type machine struct {
	noApt     bool
	lists     bool     // apt-get update was run
	offers    []string // packages that the distribution has
	installed []string
	failing   string // an apt-get command that fails
	changes   []string
}

func (m *machine) run(_ context.Context, name string, args ...string) ([]byte, error) {
	last := args[len(args)-1]
	switch name {
	case "dpkg-query":
		if slices.Contains(m.installed, last) || slices.Contains(m.installed, "*") {
			return []byte("installed"), nil
		}
		return []byte("not-installed"), nil
	case "apt-cache":
		if m.lists && (last == "qemu-system-x86" || slices.Contains(m.offers, last)) {
			return nil, nil
		}
		return nil, errFailed
	}
	if m.noApt {
		return nil, errFailed
	}
	if args[0] == "--version" {
		return nil, nil
	}
	if args[0] == m.failing {
		return []byte("E: no space left"), errFailed
	}
	m.lists = true
	m.changes = append(m.changes, name+" "+strings.Join(args, " "))
	return nil, nil
}

func TestEnsure(t *testing.T) {
	driver := hypervisor.Requirement{What: "a driver", Packages: []string{"driver-new", "driver-old"}}
	tests := map[string]struct {
		why     string
		machine machine
		missing []hypervisor.Requirement
		more    []string
		decline bool

		changes int
		install string // part of the install command
		fails   string
	}{
		"nothing is done when nothing is missing": {
			why:     "a warm run needs neither root nor a network",
			machine: machine{installed: []string{"*"}},
		},
		"names are those of this release": {
			why:     "Debian and Ubuntu cut libvirt into packages differently, and a fresh machine has no lists to tell",
			machine: machine{offers: []string{"driver-old"}},
			missing: []hypervisor.Requirement{driver},
			changes: 2, install: " driver-old ",
		},
		"what tests need besides is installed with it": {
			why:     "a quickstart needs no emulated TPM, and a test that lacks one fails",
			machine: machine{}, more: []string{"swtpm"},
			changes: 2, install: " swtpm ",
		},
		"a machine without apt-get is told what it lacks": {
			machine: machine{noApt: true},
			fails:   "no apt-get",
		},
		"a person who says no changes nothing": {
			machine: machine{}, decline: true,
			fails: "packages are missing: apt-get install",
		},
		"a failure shows what apt-get said": {
			machine: machine{failing: "install"}, changes: 1,
			fails: "no space left",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			installer := hostpackages.Installer{
				Run:     tc.machine.run,
				Missing: append([]hypervisor.Requirement{}, tc.missing...),
				More:    tc.more,
				Confirm: func([]string) bool { return !tc.decline },
			}
			err := installer.Ensure(t.Context())
			if got := errorText(err); !strings.Contains(got, tc.fails) || (tc.fails == "") != (err == nil) {
				t.Errorf("got error %q, want %q: %s", got, tc.fails, tc.why)
			}
			if len(tc.machine.changes) != tc.changes {
				t.Errorf("got changes %q, want %d: %s", tc.machine.changes, tc.changes, tc.why)
			}
			if tc.install != "" && !strings.Contains(tc.machine.changes[1]+" ", tc.install) {
				t.Errorf("got %q, want %q: %s", tc.machine.changes[1], tc.install, tc.why)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
