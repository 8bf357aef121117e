// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	hostnamePattern = `^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`
	// unitPattern leaves out the characters that mean something to systemd or to a shell.
	unitPattern   = `^[A-Za-z0-9][A-Za-z0-9:_.-]*\.(service|socket|timer|path|target|mount|automount|swap|slice)$`
	dropinPattern = `^[A-Za-z0-9][A-Za-z0-9:_.-]*\.conf$`
)

// check finds what cloud-init or systemd would ignore, or understand in another way.
func (c Config) check() error {
	if c.Hostname != "" && !regexp.MustCompile(hostnamePattern).MatchString(c.Hostname) {
		return fmt.Errorf("host name %q: it must be a DNS name in lower case", c.Hostname)
	}
	paths := map[string]bool{}
	for _, f := range c.Files {
		if err := f.check(); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
		if paths[f.Path] {
			return fmt.Errorf("file %q: it is listed twice", f.Path)
		}
		paths[f.Path] = true
	}
	names := map[string]bool{}
	for _, u := range c.Units {
		if err := u.check(); err != nil {
			return fmt.Errorf("unit %q: %w", u.Name, err)
		}
		if names[u.Name] {
			return fmt.Errorf("unit %q: it is listed twice", u.Name)
		}
		names[u.Name] = true
	}
	return c.hidden()
}

func (f File) check() error {
	switch {
	case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
		return errors.New("its path must be absolute and clean")
	case !utf8.ValidString(f.Path) || strings.ContainsFunc(f.Path, unicode.IsControl):
		return errors.New("its path must be printable text")
	case strings.HasPrefix(f.Path, unitFolder):
		return errors.New("it belongs to a unit: list it as one")
	case f.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("its mode %v has more than permission bits", f.Mode)
	default:
		return nil
	}
}

func (u Unit) check() error {
	switch {
	case !regexp.MustCompile(unitPattern).MatchString(u.Name):
		return errors.New("its name is not that of a systemd unit")
	case u.Masked && (u.Enabled || u.Contents != "" || len(u.Dropins) > 0):
		return errors.New("it is masked, and nothing else can be said about it then")
	case !u.Masked && !u.Enabled && u.Contents == "" && len(u.Dropins) == 0:
		return errors.New("nothing is said about it")
	case u.Enabled && u.Contents != "" && !strings.Contains("\n"+u.Contents, "\n[Install]\n"):
		return errors.New("it is enabled and has no section [Install], so enabling it does nothing")
	}
	for name := range u.Dropins {
		if !regexp.MustCompile(dropinPattern).MatchString(name) {
			return fmt.Errorf("drop-in %q: its name must end with .conf", name)
		}
	}
	return nil
}
