// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudconfig

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Additions are what a user adds to a configuration, in cloud-init's own words: accounts, disks, and what the system is like.
// cloud-init itself drops most of what it does not understand, so only what is known here can be said.
type Additions struct {
	DiskSetup    map[string]DiskSetup `json:"disk_setup,omitempty"`
	FSSetup      []FSSetup            `json:"fs_setup,omitempty"`
	Groups       []string             `json:"groups,omitempty"`
	GrowPart     *GrowPart            `json:"growpart,omitempty"`
	Locale       string               `json:"locale,omitempty"`
	Mounts       [][]string           `json:"mounts,omitempty"`
	ResizeRootFS *bool                `json:"resize_rootfs,omitempty"`
	Timezone     string               `json:"timezone,omitempty"`
	// Users are all accounts that are made: where there are any, cloud-init does not make the one that the image names.
	Users []User `json:"users,omitempty"`
}

// DiskSetup is an entry of disk_setup: how a disk is divided.
type DiskSetup struct {
	// Layout is true for one partition, or the sizes of all of them in percent; of a pair the second is the type.
	Layout    any    `json:"layout,omitempty"`
	Overwrite *bool  `json:"overwrite,omitempty"`
	TableType string `json:"table_type,omitempty"`
}

// FSSetup is an entry of fs_setup: a file system to make.
type FSSetup struct {
	Device     string   `json:"device"`
	ExtraOpts  []string `json:"extra_opts,omitempty"`
	Filesystem string   `json:"filesystem"`
	Label      string   `json:"label,omitempty"`
	Overwrite  *bool    `json:"overwrite,omitempty"`
	// Partition is auto, any or none.
	Partition string `json:"partition,omitempty"`
	ReplaceFS string `json:"replace_fs,omitempty"`
}

// GrowPart is growpart: which partitions grow to the size of their disk.
type GrowPart struct {
	Devices                []string `json:"devices,omitempty"`
	IgnoreGrowrootDisabled *bool    `json:"ignore_growroot_disabled,omitempty"`
	Mode                   string   `json:"mode,omitempty"`
}

// User is an entry of users. It has no password.
type User struct {
	Gecos             string   `json:"gecos,omitempty"`
	Groups            []string `json:"groups,omitempty"`
	Homedir           string   `json:"homedir,omitempty"`
	Name              string   `json:"name"`
	NoCreateHome      *bool    `json:"no_create_home,omitempty"`
	PrimaryGroup      string   `json:"primary_group,omitempty"`
	Shell             string   `json:"shell,omitempty"`
	SSHAuthorizedKeys []string `json:"ssh_authorized_keys,omitempty"`
	Sudo              string   `json:"sudo,omitempty"`
	System            *bool    `json:"system,omitempty"`
	UID               *int64   `json:"uid,omitempty"`
}

// ReadAdditions reads what a user wrote. It returns either additions or what is wrong with the text, each problem with the key
// that it is about and what helps.
func ReadAdditions(text string) (additions Additions, problems []string) {
	if problem := FormProblem(text); problem != "" {
		return Additions{}, []string{problem}
	}
	var tree map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &tree); err != nil {
		return Additions{}, []string{Message(err)}
	}
	if problems := foreignKeys(tree); len(problems) > 0 {
		return Additions{}, problems
	}
	if err := yaml.UnmarshalStrict([]byte(text), &additions); err != nil {
		return Additions{}, []string{Message(err)}
	}
	if empty, err := yaml.Marshal(additions); err != nil || bytes.Equal(empty, []byte("{}\n")) {
		return Additions{}, []string{"says nothing: remove it"}
	}
	if problems := additions.problems(); len(problems) > 0 {
		return Additions{}, problems
	}
	return additions, nil
}

// additionKeys are the keys of Additions.
func additionKeys() []string {
	return []string{
		"disk_setup", "fs_setup", "groups", "growpart", "locale", "mounts", "resize_rootfs", "timezone", "users",
	}
}

// foreignKeys finds keys that nobody adds, with what to do instead.
func foreignKeys(tree map[string]any) []string {
	const (
		name     = "is the name of the Machine"
		units    = "would run beside the node's own script: write a unit in spec.units"
		packages = "would change the image in place: build an image that has them"
		secret   = "holds a secret, which whoever may read the config could read: use ssh_authorized_keys of users"
	)
	reasons := map[string]string{
		"hostname": name, "fqdn": name, "preserve_hostname": name, "manage_etc_hosts": name, "prefer_fqdn_over_hostname": name,
		"bootcmd": units, "runcmd": units, "write_files": "would replace the files of the node: use spec.files",
		"packages": packages, "package_update": packages, "package_upgrade": packages, "package_reboot_if_required": packages,
		"apt": packages, "snap": packages, "yum_repos": packages, "zypper": packages,
		"ntp": "is a portable setting: use spec.ntp", "ca_certs": "is a portable setting: use spec.additionalTrustBundle",
		"password": secret, "chpasswd": secret, "ssh_keys": secret,
		"ssh_authorized_keys": "are for an account that only the image names: write them into users",
		"ssh_import_id":       "would be fetched from elsewhere: write the keys themselves", "power_state": "would stop the node while it joins",
		"swap": "would keep the kubelet from starting", "manual_cache_clean": "is set by Ingot",
	}
	known := additionKeys()
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		reason, ours := reasons[key]
		switch {
		case ours:
			problems = append(problems, key+" "+reason)
		case !slices.Contains(known, key):
			problems = append(problems, fmt.Sprintf("%s cannot be added: use %s", key, strings.Join(known, ", ")))
		}
	}
	return problems
}

// problems finds what cloud-init would drop, or understand in another way, and what would hide the node's files.
func (a Additions) problems() []string {
	out := append(a.diskProblems(), a.mountProblems()...)
	seen := map[string]bool{}
	for i, u := range a.Users {
		at := fmt.Sprintf("users[%d]", i)
		if !isAccount(u.Name) {
			out = append(out, fmt.Sprintf("%s.name %q is not the name of an account", at, u.Name))
		}
		if seen[u.Name] {
			out = append(out, fmt.Sprintf("%s.name %q is listed twice", at, u.Name))
		}
		seen[u.Name] = true
		out = append(out, keyProblems(at+".ssh_authorized_keys", u.SSHAuthorizedKeys)...)
	}
	for i, group := range a.Groups {
		if !isAccount(group) {
			out = append(out, fmt.Sprintf("groups[%d] %q is not the name of a group", i, group))
		}
	}
	if a.Timezone != "" && !regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`).MatchString(a.Timezone) {
		out = append(out, fmt.Sprintf("timezone %q is not one: write it like Europe/Vienna", a.Timezone))
	}
	if a.Locale != "" && !regexp.MustCompile(`^[A-Za-z0-9_.@-]+$`).MatchString(a.Locale) {
		out = append(out, fmt.Sprintf("locale %q is not one: write it like en_US.UTF-8", a.Locale))
	}
	return out
}

func isAccount(name string) bool {
	return regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`).MatchString(name)
}

// keyProblems finds keys that are not whole lines of authorized_keys.
func keyProblems(at string, keys []string) []string {
	var out []string
	for i, key := range keys {
		if !strings.Contains(key, " ") || strings.ContainsAny(key, "\n\r") || strings.Contains(key, "://") {
			out = append(out, fmt.Sprintf("%s[%d] is not a line of authorized_keys: write the key itself", at, i))
		}
	}
	return out
}

func (a Additions) diskProblems() []string {
	var out []string
	for _, disk := range slices.Sorted(maps.Keys(a.DiskSetup)) {
		d, at := a.DiskSetup[disk], "disk_setup["+disk+"]"
		if !isDevice(disk) {
			out = append(out, at+" is not a disk: write a path below /dev")
		}
		if !slices.Contains([]string{"", "mbr", "gpt"}, d.TableType) {
			out = append(out, fmt.Sprintf("%s.table_type %q is not known: use gpt or mbr", at, d.TableType))
		}
		if !isLayout(d.Layout) {
			out = append(out, at+".layout must be true, false, or a list of sizes in percent, or of pairs of a size and a type")
		}
	}
	for i, f := range a.FSSetup {
		at := fmt.Sprintf("fs_setup[%d]", i)
		if !isDevice(f.Device) {
			out = append(out, fmt.Sprintf("%s.device %q is not a device: write a path below /dev", at, f.Device))
		}
		if !regexp.MustCompile(`^[a-z][a-z0-9]*$`).MatchString(f.Filesystem) {
			out = append(out, fmt.Sprintf("%s.filesystem %q is not known: write it like ext4", at, f.Filesystem))
		}
		if !slices.Contains([]string{"", "auto", "any", "none"}, f.Partition) {
			out = append(out, fmt.Sprintf("%s.partition %q is not known: use auto, any or none, and name a partition by its device", at, f.Partition))
		}
	}
	if g := a.GrowPart; g != nil && !slices.Contains([]string{"", "auto", "growpart", "gpart", "off"}, g.Mode) {
		out = append(out, fmt.Sprintf("growpart.mode %q is not known: use auto, growpart, gpart or off", g.Mode))
	}
	return out
}

func isDevice(name string) bool { return strings.HasPrefix(name, "/dev/") && path.Clean(name) == name }

func isLayout(layout any) bool {
	list, isList := layout.([]any)
	if !isList {
		_, whole := layout.(bool)
		return whole || layout == nil
	}
	for _, part := range list {
		numbers, isPair := part.([]any)
		if !isPair {
			numbers = []any{part}
		} else if len(numbers) != 2 {
			return false
		}
		for _, number := range numbers {
			if n, is := number.(float64); !is || n != math.Trunc(n) {
				return false
			}
		}
	}
	return len(list) > 0
}

// mountProblems keeps mounts off the folders that the image and the node live in.
func (a Additions) mountProblems() []string {
	var out []string
	for i, m := range a.Mounts {
		at := fmt.Sprintf("mounts[%d]", i)
		if len(m) < 2 || len(m) > 6 {
			out = append(out, at+" must name a device and a folder, and up to four more fields of fstab")
			continue
		}
		switch folder := m[1]; {
		case !path.IsAbs(folder) || path.Clean(folder) != folder || strings.ContainsAny(folder, " \t\n"):
			out = append(out, fmt.Sprintf("%s: the folder %q must be absolute and clean, without blanks", at, folder))
		case folder == "/" || slices.Contains([]string{"etc", "usr", "boot", "dev", "proc", "sys", "run", "bin", "sbin", "lib", "lib64", "root"}, strings.Split(folder, "/")[1]):
			out = append(out, fmt.Sprintf("%s: %s belongs to the image and to the node: use a folder like /var/lib/data", at, folder))
		}
	}
	return out
}

// hidden finds a file that a mount would hide: cloud-init writes files before it mounts.
func (c Config) hidden() error {
	for _, m := range c.Additions.Mounts {
		for _, f := range c.Files {
			if len(m) > 1 && strings.HasPrefix(f.Path, m[1]+"/") {
				return fmt.Errorf("mount %q: it would hide the file %s, which is written before", m[1], f.Path)
			}
		}
	}
	return nil
}
