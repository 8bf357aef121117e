// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudconfig

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// unitFolder is where units of the administrator lie. They win over those of the image.
const unitFolder = "/etc/systemd/system/"

// document is a cloud-config as cloud-init reads it, with the keys that Config needs, and those that a user adds. Keys are in
// the order of the alphabet.
type document struct {
	Additions

	// BootCmd runs before the files are written, and again on every boot.
	BootCmd          []command   `json:"bootcmd,omitempty"`
	FQDN             string      `json:"fqdn,omitempty"`
	Hostname         string      `json:"hostname,omitempty"`
	ManageEtcHosts   *bool       `json:"manage_etc_hosts,omitempty"`
	ManualCacheClean bool        `json:"manual_cache_clean,omitempty"`
	PackageReboot    *bool       `json:"package_reboot_if_required,omitempty"`
	PackageUpdate    *bool       `json:"package_update,omitempty"`
	PackageUpgrade   *bool       `json:"package_upgrade,omitempty"`
	PreserveHostname *bool       `json:"preserve_hostname,omitempty"`
	RunCmd           []command   `json:"runcmd,omitempty"` // runs once, at the end of the first boot
	WriteFiles       []writeFile `json:"write_files,omitempty"`
}

// command is one line of a shell script. cloud-init quotes each word.
type command []string

// writeFile is an entry of write_files.
type writeFile struct {
	Append      bool   `json:"append,omitempty"`
	Content     string `json:"content"`
	Encoding    string `json:"encoding"`
	Owner       string `json:"owner"`
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
}

const (
	// base64Encoding keeps every byte: YAML cannot hold them all.
	base64Encoding = "b64"
	// root is said of every file, because the default differs between distributions.
	root = "root:root"
	// unitMode is the mode of the files of units.
	unitMode = fs.FileMode(0o644)
)

func documentOf(c Config) document {
	doc := document{
		Additions:        c.Additions,
		ManualCacheClean: c.ReadOnce,
		BootCmd:          bootCommands(c.Units),
		WriteFiles:       writeFiles(c),
		RunCmd:           runCommands(c.Units),
	}
	if c.Hostname != "" {
		// Without fqdn, cloud-init cuts a name at its first dot, or takes a domain from elsewhere.
		doc.Hostname, doc.FQDN, doc.PreserveHostname, doc.ManageEtcHosts = c.Hostname, c.Hostname, new(false), new(false)
	}
	if c.KeepPackages {
		doc.PackageUpdate, doc.PackageUpgrade, doc.PackageReboot = new(false), new(false), new(false)
	}
	return doc
}

// writeFiles lists files, then drop-ins, then unit files, each sorted: what starts something comes last.
func writeFiles(c Config) []writeFile {
	var files, dropins, units []writeFile
	for _, f := range c.Files {
		files = append(files, writeFileOf(f))
	}
	for _, u := range c.Units {
		for _, name := range slices.Sorted(maps.Keys(u.Dropins)) {
			dropins = append(dropins, writeFileOf(File{Path: unitFolder + u.Name + ".d/" + name, Mode: unitMode, Data: []byte(u.Dropins[name])}))
		}
		if u.Contents != "" {
			units = append(units, writeFileOf(File{Path: unitFolder + u.Name, Mode: unitMode, Data: []byte(u.Contents)}))
		}
	}
	for _, list := range [][]writeFile{files, dropins, units} {
		slices.SortFunc(list, func(a, b writeFile) int { return cmp.Compare(a.Path, b.Path) })
	}
	return slices.Concat(files, dropins, units)
}

func writeFileOf(f File) writeFile {
	return writeFile{
		Append:      f.Append,
		Content:     base64.StdEncoding.EncodeToString(f.Data),
		Encoding:    base64Encoding,
		Owner:       root,
		Path:        f.Path,
		Permissions: fmt.Sprintf("%04o", f.Mode),
	}
}

// bootCommands mask units as early as cloud-init can. Some of them run by then, and many images have only a few of them.
func bootCommands(units []Unit) []command {
	masked := maskedNames(units)
	if len(masked) == 0 {
		return nil
	}
	stop := command{"sh", "-c", `systemctl --no-block stop "$@" || true`, "sh"}
	return append(maskCommands(masked), append(stop, masked...))
}

// runCommands enable and start units. They mask again what is to be masked, because nothing else notices if that failed
// before. They wait for no unit: one that waits for the end of the boot would wait for cloud-init, which is part of it.
func runCommands(units []Unit) []command {
	if len(units) == 0 {
		return nil
	}
	commands := maskCommands(maskedNames(units))
	enabled := enabledNames(units)
	for _, name := range enabled {
		commands = append(commands, enableCommand(name))
	}
	for _, name := range enabled {
		commands = append(commands, command{"systemctl", "--no-block", "restart", name})
	}
	return commands
}

// maskCommands begin a script that ends at the first failure.
func maskCommands(names []string) []command {
	commands := []command{{"set", "-e"}}
	for _, name := range names {
		commands = append(commands, maskCommand(name))
	}
	return append(commands, command{"systemctl", "daemon-reload"})
}

// maskCommand does what systemctl mask does, and also replaces a unit file that the image has in the folder.
func maskCommand(name string) command { return command{"ln", "-sfT", "/dev/null", unitFolder + name} }

func enableCommand(name string) command { return command{"systemctl", "enable", name} }

func maskedNames(units []Unit) []string {
	return names(units, func(u Unit) bool { return u.Masked })
}

func enabledNames(units []Unit) []string {
	return names(units, func(u Unit) bool { return u.Enabled })
}

func names(units []Unit, which func(Unit) bool) []string {
	var out []string
	for _, u := range units {
		if which(u) {
			out = append(out, u.Name)
		}
	}
	slices.Sort(out)
	return out
}

// config reads what documentOf wrote. What it does not look at, whoever calls it compares.
func (doc document) config() (Config, error) {
	out := Config{Additions: doc.Additions, Hostname: doc.Hostname, KeepPackages: doc.PackageUpdate != nil, ReadOnce: doc.ManualCacheClean}
	units := map[string]Unit{}
	for _, w := range doc.WriteFiles {
		file, err := w.file()
		if err != nil {
			return Config{}, fmt.Errorf("file %q: %w", w.Path, err)
		}
		name, isUnit := strings.CutPrefix(file.Path, unitFolder)
		if !isUnit {
			out.Files = append(out.Files, file)
			continue
		}
		name, dropin, isDropin := strings.Cut(name, ".d/")
		unit := units[name]
		switch {
		case !isDropin:
			unit.Contents = string(file.Data)
		case unit.Dropins == nil:
			unit.Dropins = map[string]string{dropin: string(file.Data)}
		default:
			unit.Dropins[dropin] = string(file.Data)
		}
		units[name] = unit
	}
	for _, c := range doc.RunCmd {
		name := strings.TrimPrefix(c.last(), unitFolder)
		unit := units[name]
		switch {
		case slices.Equal(c, maskCommand(name)):
			unit.Masked = true
		case slices.Equal(c, enableCommand(name)):
			unit.Enabled = true
		default:
			continue
		}
		units[name] = unit
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		unit := units[name]
		unit.Name = name
		out.Units = append(out.Units, unit)
	}
	return out, nil
}

func (c command) last() string {
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1]
}

func (w writeFile) file() (File, error) {
	mode, err := strconv.ParseUint(w.Permissions, 8, 12)
	if err != nil {
		return File{}, fmt.Errorf("its permissions %q are not octal digits", w.Permissions)
	}
	data, err := base64.StdEncoding.DecodeString(w.Content)
	if err != nil {
		return File{}, fmt.Errorf("its content is not base64: %w", err)
	}
	return File{Path: w.Path, Mode: fs.FileMode(mode), Data: data, Append: w.Append}, nil
}
