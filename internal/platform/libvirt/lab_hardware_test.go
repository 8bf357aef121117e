// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
)

// Rename implements platformtest.Lab.
func (l *lab) Rename(t *testing.T, id, name string) {
	t.Helper()
	if _, err := l.admin.DomainRename(l.domain(t, id), golibvirt.OptString{name}, 0); err != nil {
		t.Fatal(err)
	}
}

// Built implements platformtest.Lab. It reads the definition of what runs, and the files behind its disks.
func (l *lab) Built(t *testing.T, id string) platformtest.Built {
	t.Helper()
	d := l.parsed(t, id, 0)
	built := platformtest.Built{Name: d.Name}
	for i, disk := range d.Devices.Disks {
		if disk.Serial == "root" || disk.Device != "disk" {
			continue
		}
		if want := "vd" + string(rune('a'+i)); disk.Target.Dev != want || disk.Target.Bus != "virtio" {
			t.Errorf("disk %s is %s on %s, want %s on virtio", disk.Serial, disk.Target.Dev, disk.Target.Bus, want)
		}
		v, err := l.admin.StorageVolLookupByPath(disk.Source.File.File)
		if err != nil {
			t.Fatal(err)
		}
		_, capacity, _, err := l.admin.StorageVolGetInfo(v)
		if err != nil {
			t.Fatal(err)
		}
		built.Disks = append(built.Disks, platform.Disk{Name: disk.Serial, Bytes: int64(capacity)})
	}
	for _, nic := range d.Devices.Interfaces {
		one := platform.Interface{Network: nic.Source.Network.Network}
		if nic.MTU != nil {
			one.MTU = int32(nic.MTU.Size)
			if got := l.linkMTU(t, nic.Target.Dev); got != one.MTU {
				t.Errorf("the link of interface %s has mtu %d", nic.Target.Dev, got)
			}
		}
		built.Interfaces = append(built.Interfaces, one)
	}
	return built
}

func (l *lab) parsed(t *testing.T, id string, flags golibvirt.DomainXMLFlags) *libvirtxml.Domain {
	t.Helper()
	doc, err := l.admin.DomainGetXMLDesc(l.domain(t, id), flags)
	if err != nil {
		t.Fatal(err)
	}
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(doc); err != nil {
		t.Fatal(err)
	}
	return d
}

// linkMTU returns the MTU of a link in the network namespace of libvirtd, which sysfs does not show from outside.
func (l *lab) linkMTU(t *testing.T, link string) int32 {
	t.Helper()
	out := l.inside(t, "ip", "-o", "link", "show", "dev", link)
	_, rest, _ := strings.Cut(out, " mtu ")
	text, _, _ := strings.Cut(rest, " ")
	mtu, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return int32(mtu)
}

// inside runs a command in the network namespace of libvirtd.
func (l *lab) inside(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", l.host.Namespace}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// qemu returns the process id of a running machine.
func (l *lab) qemu(t *testing.T, id string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.options.StateDir, "private", "run", "libvirt", "qemu", l.domain(t, id).Name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// threads returns the CPUs that each thread of a process may use, by the name of the thread.
func threads(t *testing.T, pid int) map[string]string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "status"))
	if err != nil {
		t.Fatal(err)
	}
	cpus := map[string]string{}
	for _, path := range all {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		field := func(name string) string {
			_, rest, _ := strings.Cut(string(status), name+":\t")
			value, _, _ := strings.Cut(rest, "\n")
			return value
		}
		cpus[field("Name")] = field("Cpus_allowed_list")
	}
	return cpus
}

// about returns the files of the hypervisor whose paths hold any of the words, but logs, which libvirt keeps for ever.
func (l *lab) about(t *testing.T, words ...string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(l.options.StateDir, func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(path, "/log/") {
			return nil
		}
		for _, w := range words {
			if strings.Contains(strings.TrimPrefix(path, l.options.StateDir), w) {
				files = append(files, path)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
