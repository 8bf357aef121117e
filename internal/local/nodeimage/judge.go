// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// facts are what can be seen in an image from outside. Judging them needs nothing else.
type facts struct {
	problem    string // why the file is no disk image; nothing else is known then
	format     string // of the file: qcow2, raw, ...
	disk       diskLayout
	removable  bool              // the EFI system partition has a boot loader for removable media
	cmdlines   []string          // kernel command lines of loader entries
	root       string            // file system of the root, "" if none was found
	unreadable []string          // file systems that nobody could look into, with the reason
	osRelease  map[string]string // nil if there is none
	programs   map[string]program
	units      map[string]string // systemd units by name, with their drop-ins
	machineID  *string           // content of /etc/machine-id; nil if there is no such file
	hostKeys   []string
	preloaded  map[string]bool // short names of container images
	digests    []string        // of the partitions that a machine only reads
}

// program is a program found in an image.
type program struct {
	path    string
	version string // "" if it can not be read from the file
}

// judge turns facts into findings, the most basic first.
func judge(f facts) []Finding {
	if f.problem != "" {
		return []Finding{{Lacks, "disk", f.problem}}
	}
	findings := slices.Concat(judgeDisk(f), judgeBoot(f))
	for _, digest := range f.digests {
		findings = append(findings, Finding{Has, "content", digest})
	}
	if f.osRelease == nil {
		return append(findings, judgeMissingRoot(f))
	}
	findings = append(findings, judgeRelease(f)...)
	if family := foreignFamily(f.osRelease["ID"]); family != "" {
		return append(findings, Finding{Note, "family", fmt.Sprintf(
			"this is %s, which has a family of its own in Ingot (%s); what images of the family Generic need was not checked", f.osRelease["ID"], family)})
	}
	return slices.Concat(findings, judgeRootMount(f), judgeFirstBoot(f), judgeKubernetes(f), judgeIdentity(f), judgePreloaded(f))
}

func judgeDisk(f facts) []Finding {
	switch f.format {
	case "qcow2", "raw":
		return []Finding{{Has, "disk", fmt.Sprintf("%s, %.1f GiB", f.format, float64(f.disk.bytes)/(1<<30))}}
	default:
		return []Finding{{Lacks, "disk", fmt.Sprintf("format %s: convert it with qemu-img convert -O qcow2", f.format)}}
	}
}

func judgeBoot(f facts) []Finding {
	var findings []Finding
	esp := slices.ContainsFunc(f.disk.partitions, func(p diskPartition) bool { return p.kind == kindESP })
	switch {
	case esp && f.removable:
		findings = append(findings, Finding{Has, "UEFI boot", "EFI system partition with EFI/BOOT/BOOTX64.EFI"})
	case esp:
		findings = append(findings, Finding{
			Lacks, "UEFI boot",
			"the EFI system partition has no EFI/BOOT/BOOTX64.EFI, and a new machine has no boot entries: install the boot loader for removable media",
		})
	case f.disk.bootCode:
		findings = append(findings, Finding{Note, "UEFI boot", "no EFI system partition; the image boots with BIOS only, so set firmware BIOS in its NodeImage"})
	default:
		findings = append(findings, Finding{
			Lacks, "boot",
			"neither an EFI system partition nor BIOS boot code: this is no bootable disk; an installer ISO or a plain file system can not be used",
		})
	}
	if len(f.cmdlines) > 0 && !slices.ContainsFunc(f.cmdlines, func(c string) bool { return strings.Contains(c, "console=ttyS0") }) {
		findings = append(findings, Finding{Note, "console", "the kernel does not write to ttyS0, so a failed boot leaves no log; add console=ttyS0 to its arguments"})
	}
	return findings
}

func judgeMissingRoot(f facts) Finding {
	if len(f.unreadable) > 0 {
		return Finding{Unknown, "root", strings.Join(f.unreadable, "; ")}
	}
	return Finding{Lacks, "root", "no partition holds an os-release file: the image has no operating system"}
}

func judgeRelease(f facts) []Finding {
	pretty, version := f.osRelease["PRETTY_NAME"], cmp.Or(f.osRelease["IMAGE_VERSION"], f.osRelease["VERSION_ID"])
	switch {
	case pretty == "":
		return []Finding{{Lacks, "os-release", "no PRETTY_NAME, which a Node reports as its osImage: set it, with the image's version in it"}}
	case version == "":
		return []Finding{{Lacks, "os-release", "neither IMAGE_VERSION nor VERSION_ID: a Node could not tell which version it runs; set IMAGE_VERSION"}}
	case !strings.Contains(pretty, version):
		return []Finding{{Note, "os-release", fmt.Sprintf(
			"PRETTY_NAME %q does not contain the version %s; nodes of different versions would report the same osImage", pretty, version)}}
	default:
		return []Finding{{Has, "os-release", fmt.Sprintf("%s, version %s", pretty, version)}}
	}
}

// foreignFamily is the OS family of an os-release ID that has its own renderer.
func foreignFamily(id string) string {
	return map[string]string{
		"talos": "Talos", "flatcar": "Flatcar", "fedora": "FedoraCoreOS", "bottlerocket": "Bottlerocket", "kairos": "Kairos", "hadron": "Kairos",
	}[id]
}

func judgeRootMount(f facts) []Finding {
	readOnly := slices.ContainsFunc(f.cmdlines, func(c string) bool { return slices.Contains(strings.Fields(c), "ro") })
	switch {
	case f.root == fsErofs || f.root == fsSquash:
		return []Finding{{Has, "root", f.root + ", which can not be written"}}
	case readOnly:
		return []Finding{{Note, "root", f.root + ", mounted read-only by a kernel argument; a program with root rights can undo that: prefer erofs, squashfs or dm-verity"}}
	default:
		return []Finding{{Lacks, "root", f.root + ", which is writable: a node could drift from its image; use erofs, squashfs or dm-verity, or mount it read-only (ro)"}}
	}
}

// judgeFirstBoot looks for what reads the bootstrap data. It decides the family.
func judgeFirstBoot(f facts) []Finding {
	ignition, hasIgnition := f.programs["ignition"]
	_, hasCloudInit := f.programs["cloud-init"]
	switch {
	case hasIgnition && hasCloudInit:
		return append(judgeIgnition(ignition), Finding{Note, "cloud-init", "the image has it beside Ignition: let it be off where Ignition configures the machine"})
	case hasIgnition:
		return judgeIgnition(ignition)
	case hasCloudInit:
		return []Finding{{Has, "cloud-init", "so its family is CloudInit; it must look for NoCloud or a config drive (datasource_list)"}}
	default:
		return []Finding{{
			Lacks, "first boot",
			"neither a program ignition nor cloud-init: bootstrap data would never be read; run Ignition 2.x in the initramfs on first boot, and keep it in the root for this check, or install cloud-init",
		}}
	}
}

func judgeIgnition(p program) []Finding {
	switch {
	case strings.HasPrefix(p.version, "v0."):
		return []Finding{{Lacks, "Ignition", p.version + " reads config specification 2 only, and Ingot renders 3.4: use Ignition v2.15 or newer"}}
	case p.version == "":
		return []Finding{{Note, "Ignition", p.path + "; its version can not be read, it must accept config specification 3.4 (v2.15 or newer)"}}
	default:
		return []Finding{{Has, "Ignition", p.version}}
	}
}

func judgeKubernetes(f facts) []Finding {
	var findings []Finding
	remedies := map[string]string{
		"kubeadm":    "kubeadm joins the node to its cluster: install it into /usr/bin, of the kubelet's version",
		"kubelet":    "install the kubelet into /usr/bin",
		"containerd": "install containerd 2.x, enable its CRI plugin and its service",
	}
	for _, name := range slices.Sorted(maps.Keys(remedies)) {
		p, ok := f.programs[name]
		switch {
		case !ok:
			findings = append(findings, Finding{Lacks, name, "missing: " + remedies[name]})
		case p.version == "":
			findings = append(findings, Finding{Note, name, p.path + "; its version can not be read from the program"})
		default:
			findings = append(findings, Finding{Has, name, p.version})
		}
	}
	kubelet, kubeadm := f.programs["kubelet"].version, f.programs["kubeadm"].version
	if kubelet != "" && kubeadm != "" && kubelet != kubeadm {
		findings = append(findings, Finding{Lacks, "kubeadm", fmt.Sprintf("kubeadm is %s and the kubelet %s: ship both in the same version", kubeadm, kubelet)})
	}
	return append(findings, judgeUnits(f)...)
}

func judgeUnits(f facts) []Finding {
	var findings []Finding
	if _, ok := f.units["containerd.service"]; !ok {
		findings = append(findings, Finding{Lacks, "containerd", "no unit containerd.service: add it and enable it"})
	}
	switch unit, ok := f.units["kubelet.service"]; {
	case !ok:
		findings = append(findings, Finding{Lacks, "kubelet", "no unit kubelet.service: add it with the drop-in that kubeadm expects"})
	case !strings.Contains(unit, "/var/lib/kubelet/config.yaml") || !strings.Contains(unit, "kubeadm-flags.env"):
		findings = append(findings, Finding{
			Lacks, "kubelet",
			"kubelet.service reads neither /var/lib/kubelet/config.yaml nor kubeadm-flags.env: add the drop-in 10-kubeadm.conf of the Kubernetes packages",
		})
	default:
		findings = append(findings, Finding{Has, "units", "containerd.service and kubelet.service with kubeadm's drop-in"})
	}
	return findings
}

func judgeIdentity(f facts) []Finding {
	var findings []Finding
	switch {
	case f.machineID == nil:
		findings = append(findings, Finding{Note, "machine-id", "missing; put the word uninitialized into /etc/machine-id, or units that Ignition enables stay off with some versions of systemd"})
	case regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(*f.machineID):
		findings = append(findings, Finding{Lacks, "machine-id", "already set: all machines would share it and no first boot is seen; put the word uninitialized into /etc/machine-id"})
	default:
		findings = append(findings, Finding{Has, "machine-id", "made on first boot"})
	}
	if len(f.hostKeys) > 0 {
		findings = append(findings, Finding{Lacks, "host keys", strings.Join(f.hostKeys, ", ") + ": all machines would share these secrets; remove them from the image"})
	}
	return findings
}

func judgePreloaded(f facts) []Finding {
	var missing []string
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns", "pause"} {
		if !f.preloaded[name] {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == 0:
		return []Finding{{Has, "preloaded", "all container images of a control plane, so a node pulls nothing to join"}}
	case len(f.preloaded) == 0 && len(f.unreadable) > 0:
		return []Finding{{Unknown, "preloaded", strings.Join(f.unreadable, "; ")}}
	default:
		return []Finding{{Note, "preloaded", "not in the image, a node needs a registry for: " + strings.Join(missing, ", ")}}
	}
}
