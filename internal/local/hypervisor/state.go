// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// state is what was chosen once and must not change while guests depend on it.
type state struct {
	// Subnet is zero until one was claimed.
	Subnet    netip.Prefix `json:"subnet"`
	DHCPFirst byte         `json:"dhcpFirst"`
	DHCPLast  byte         `json:"dhcpLast"`
	// Boot is the boot in which libvirtd ran last.
	Boot string `json:"boot"`
}

// prepare makes the folders and loads or begins the state.
func (l layout) prepare(o Options) (state, error) {
	wanted, err := o.state()
	if err != nil {
		return state{}, err
	}
	s, err := l.load(wanted)
	if err != nil {
		return state{}, err
	}
	if s.Boot != wanted.Boot { // what /run says about processes and bridges is from before the reboot
		if err := os.RemoveAll(l.private("run")); err != nil {
			return state{}, fmt.Errorf("clearing the private /run: %w", err)
		}
		s.Boot = wanted.Boot
	}
	if err := l.save(s); err != nil {
		return state{}, err
	}
	for _, dir := range []string{l.private("run", "libvirt"), l.private("var", "tmp"), l.private("etc"), l.pool()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return state{}, fmt.Errorf("state directory: %w", err)
		}
	}
	// dnsmasq gives up root's rights and reads reserved addresses anew whenever there is one more. Other users of the machine
	// do not get here: the state directory is closed.
	for _, dir := range []string{l.private("run"), l.private("run", "libvirt"), l.private("var")} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return state{}, fmt.Errorf("state directory: %w", err)
		}
	}
	return s, nil
}

// load returns the kept state, or wanted where there is none. A wish that contradicts what is kept is an error.
func (l layout) load(wanted state) (state, error) {
	content, err := os.ReadFile(l.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return wanted, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("state: %w", err)
	}
	var kept state
	if err := json.Unmarshal(content, &kept); err != nil {
		return state{}, fmt.Errorf("state %s is damaged (%w); stop the hypervisor to begin anew", l.stateFile(), err)
	}
	if wanted.Subnet.IsValid() && kept.Subnet.IsValid() && wanted.Subnet != kept.Subnet {
		return state{}, fmt.Errorf("subnet %s was asked for, but it was made with %s; stop it first", wanted.Subnet, kept.Subnet)
	}
	if wanted.DHCPFirst != kept.DHCPFirst || wanted.DHCPLast != kept.DHCPLast {
		return state{}, fmt.Errorf("DHCP range %d-%d was asked for, but it was made with %d-%d; stop it first",
			wanted.DHCPFirst, wanted.DHCPLast, kept.DHCPFirst, kept.DHCPLast)
	}
	return kept, nil
}

// save replaces the state file in one step.
func (l layout) save(s state) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	scratch := l.stateFile() + ".new"
	if err := os.WriteFile(scratch, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := os.Rename(scratch, l.stateFile()); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// state is what the options ask for, with defaults.
func (o Options) state() (state, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return state{}, fmt.Errorf("boot id: %w", err)
	}
	s := state{Subnet: o.Subnet, DHCPFirst: o.DHCPFirst, DHCPLast: o.DHCPLast, Boot: strings.TrimSpace(string(boot))}
	if s.DHCPFirst == 0 && s.DHCPLast == 0 {
		s.DHCPFirst, s.DHCPLast = 100, 249
	}
	if s.DHCPFirst < 2 || s.DHCPLast > 254 || s.DHCPFirst > s.DHCPLast {
		return state{}, fmt.Errorf("DHCP range %d-%d must lie within 2-254", s.DHCPFirst, s.DHCPLast)
	}
	if s.Subnet.IsValid() && (!s.Subnet.Addr().Is4() || s.Subnet.Bits() != 24 || s.Subnet != s.Subnet.Masked()) {
		return state{}, fmt.Errorf("subnet %s must be an IPv4 network of 24 bits, such as 192.168.150.0/24", s.Subnet)
	}
	return s, nil
}

// forget removes everything below the state directory that this package put there, and the directory if it is empty.
func (l layout) forget() error {
	for _, path := range []string{l.private(), l.pool(), l.pidFile(), l.logFile(), l.stateFile(), l.stateFile() + ".new", l.lockFile()} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing %s: %w", filepath.Base(path), err)
		}
	}
	_ = os.Remove(l.dir) // fails when someone else keeps something in it, which then is theirs
	return nil
}
