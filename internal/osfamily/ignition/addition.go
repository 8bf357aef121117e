// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignition

import (
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/coreos/ignition/v2/config/v3_4/types"
)

// Addition is what a user adds to a configuration. Translate makes one.
type Addition struct{ config types.Config }

// Kind is a kind of part.
type Kind string

// The kinds of parts, in a person's words.
const (
	KindFile           Kind = "file"
	KindFolder         Kind = "directory"
	KindLink           Kind = "link"
	KindUnit           Kind = "unit"
	KindMount          Kind = "mount unit"
	KindFilesystem     Kind = "file system"
	KindDisk           Kind = "disk"
	KindRAID           Kind = "RAID"
	KindLUKS           Kind = "LUKS volume"
	KindUser           Kind = "user"
	KindGroup          Kind = "group"
	KindKernelArgument Kind = "kernel argument"
	KindSetting        Kind = "setting"
)

// SettingFetchTimeout is the name of the setting that is Config.FetchTimeout.
const SettingFetchTimeout = "ignition.timeouts.http_total"

// unitFolder is where Ignition writes units.
const unitFolder = "/etc/systemd/system/"

// Part is one thing that an addition names.
type Part struct {
	// Kind is what it is.
	Kind Kind
	// Name is the path of a file, directory, link or file system, and the name of anything else.
	Name string
	// Path is where in the file tree it lies. Empty means that it has no place there.
	Path string
	// Hides says that what was written below Path on first boot is out of sight once the system runs: another file system
	// is mounted there later, or was mounted there only for the time of writing.
	Hides bool
}

// Parts lists what the addition names. Nothing that it holds and that could clash with another configuration is left out.
func (a Addition) Parts() []Part {
	var parts []Part
	storage := a.config.Storage
	for _, f := range storage.Files {
		parts = append(parts, Part{Kind: KindFile, Name: f.Path, Path: f.Path})
	}
	for _, d := range storage.Directories {
		parts = append(parts, Part{Kind: KindFolder, Name: d.Path, Path: d.Path})
	}
	for _, l := range storage.Links {
		parts = append(parts, Part{Kind: KindLink, Name: l.Path, Path: l.Path})
	}
	parts = append(parts, a.units()...)
	parts = append(parts, a.devices()...)
	for _, u := range a.config.Passwd.Users {
		parts = append(parts, Part{Kind: KindUser, Name: u.Name})
	}
	for _, g := range a.config.Passwd.Groups {
		parts = append(parts, Part{Kind: KindGroup, Name: g.Name})
	}
	return append(parts, a.settings()...)
}

// units lists units and their drop-ins where Ignition writes them, and mount units once more where they mount.
func (a Addition) units() []Part {
	var parts []Part
	for _, u := range a.config.Systemd.Units {
		parts = append(parts, Part{Kind: KindUnit, Name: u.Name, Path: unitFolder + u.Name})
		if len(u.Dropins) > 0 {
			parts = append(parts, Part{Kind: KindUnit, Name: u.Name, Path: unitFolder + u.Name + ".d"})
		}
		if where, ok := mountPoint(u.Name); ok && !a.prepares(where) {
			parts = append(parts, Part{Kind: KindMount, Name: u.Name, Path: where, Hides: true})
		}
	}
	return parts
}

func (a Addition) devices() []Part {
	var parts []Part
	for _, f := range a.config.Storage.Filesystems {
		if path := ptrOr(f.Path, ""); path != "" {
			parts = append(parts, Part{Kind: KindFilesystem, Name: path, Path: path, Hides: path != "/" && !a.mounts(path)})
		}
		parts = append(parts, Part{Kind: KindFilesystem, Name: f.Device})
	}
	for _, d := range a.config.Storage.Disks {
		parts = append(parts, Part{Kind: KindDisk, Name: d.Device})
	}
	for _, r := range a.config.Storage.Raid {
		parts = append(parts, Part{Kind: KindRAID, Name: r.Name})
	}
	for _, l := range a.config.Storage.Luks {
		parts = append(parts, Part{Kind: KindLUKS, Name: l.Name}, Part{Kind: KindLUKS, Name: ptrOr(l.Device, "")})
	}
	return parts
}

func (a Addition) settings() []Part {
	var parts []Part
	add := func(kind Kind, name string, set bool) {
		if set {
			parts = append(parts, Part{Kind: kind, Name: name})
		}
	}
	timeouts, proxy := a.config.Ignition.Timeouts, a.config.Ignition.Proxy
	add(KindSetting, SettingFetchTimeout, timeouts.HTTPTotal != nil)
	add(KindSetting, "ignition.timeouts.http_response_headers", timeouts.HTTPResponseHeaders != nil)
	add(KindSetting, "ignition.proxy", proxy.HTTPProxy != nil || proxy.HTTPSProxy != nil || len(proxy.NoProxy) > 0)
	for _, argument := range a.config.KernelArguments.ShouldExist {
		add(KindKernelArgument, string(argument), true)
	}
	for _, argument := range a.config.KernelArguments.ShouldNotExist {
		add(KindKernelArgument, string(argument), true)
	}
	return parts
}

// prepares is whether the addition has a file system for a mount point, so that Ignition writes onto it.
func (a Addition) prepares(where string) bool {
	for _, f := range a.config.Storage.Filesystems {
		if ptrOr(f.Path, "") == where {
			return true
		}
	}
	return false
}

// mounts is whether the addition mounts something at where on every boot.
func (a Addition) mounts(where string) bool {
	for _, u := range a.config.Systemd.Units {
		if at, ok := mountPoint(u.Name); ok && at == where && ptrOr(u.Enabled, false) && !ptrOr(u.Mask, false) && ptrOr(u.Contents, "") != "" {
			return true
		}
	}
	return false
}

// mountPoint is where a mount unit mounts. systemd derives the name from the path, and refuses any other.
func mountPoint(name string) (string, bool) {
	for _, suffix := range []string{".mount", ".automount"} {
		if escaped, ok := strings.CutSuffix(name, suffix); ok {
			return unit.UnitNamePathUnescape(escaped), true
		}
	}
	return "", false
}
