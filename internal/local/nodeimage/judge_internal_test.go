// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"strings"
	"testing"
)

// A user brings an image and asks what is wrong with it. Each case is an image that is good but for one thing; the
// check must find that thing, say what to do, and complain about nothing else.

func goodFacts() facts {
	id := "uninitialized"
	return facts{
		format: "qcow2",
		disk: diskLayout{bytes: 4 << 30, partitions: []diskPartition{
			{kind: kindESP}, {name: "root"}, {name: "var"},
		}},
		removable: true,
		cmdlines:  []string{"console=ttyS0,115200"},
		root:      fsErofs,
		osRelease: map[string]string{"ID": "ingot-os", "PRETTY_NAME": "Ingot OS v1.0.0 (Debian 12)", "IMAGE_VERSION": "v1.0.0", "VERSION_ID": "1.0.0"},
		programs: map[string]program{
			"ignition": {"/usr/bin/ignition", "v2.24.0"}, "containerd": {"/usr/bin/containerd", "v2.2.9"},
			"kubelet": {"/usr/bin/kubelet", "v1.36.3"}, "kubeadm": {"/usr/bin/kubeadm", "v1.36.3"},
		},
		units: map[string]string{
			"containerd.service": "[Service]", "kubelet.service": "--config=/var/lib/kubelet/config.yaml EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env",
		},
		machineID: &id,
		preloaded: map[string]bool{
			"kube-apiserver": true, "kube-controller-manager": true, "kube-scheduler": true, "kube-proxy": true, "etcd": true, "coredns": true, "pause": true,
		},
	}
}

func TestAGoodImageHasEverything(t *testing.T) {
	for _, finding := range judge(goodFacts()) {
		if finding.Verdict != Has {
			t.Errorf("unexpected: %s", finding)
		}
	}
}

func TestAnImageWithCloudInitNeedsNoIgnition(t *testing.T) {
	f := goodFacts()
	delete(f.programs, "ignition")
	f.programs["cloud-init"] = program{path: "/usr/bin/cloud-init"}
	for _, finding := range judge(f) {
		if finding.Verdict != Has {
			t.Errorf("unexpected: %s", finding)
		}
	}
}

func TestOneThingWrong(t *testing.T) {
	set := "0123456789abcdef0123456789abcdef"
	cases := map[string]struct {
		why     string
		spoil   func(f *facts)
		verdict Verdict
		subject string
		says    string
	}{
		"a file that is no disk": {
			"nothing else can be said about it",
			func(f *facts) { *f = facts{problem: "qemu-img can not read it"} }, Lacks, "disk", "can not read",
		},
		"a VMware disk": {
			"libvirt needs another format",
			func(f *facts) { f.format = "vmdk" }, Lacks, "disk", "qemu-img convert",
		},
		"no boot loader for a new machine": {
			"a new machine has an empty list of boot entries",
			func(f *facts) { f.removable = false }, Lacks, "UEFI boot", "BOOTX64.EFI",
		},
		"a BIOS-only image": {
			"it works, when its NodeImage says so",
			func(f *facts) { f.disk.partitions[0].kind = ""; f.disk.bootCode = true }, Note, "UEFI boot", "BIOS",
		},
		"an installer ISO or a plain file system": {
			"people try that",
			func(f *facts) { f.disk.partitions[0].kind = "" }, Lacks, "boot", "no bootable disk",
		},
		"no serial console": {
			"without it a failed boot cannot be explained",
			func(f *facts) { f.cmdlines = []string{"quiet"} }, Note, "console", "console=ttyS0",
		},
		"no operating system": {
			"an empty or data disk",
			func(f *facts) { f.osRelease = nil }, Lacks, "root", "os-release",
		},
		"a root that cannot be looked into": {
			"not seen is not the same as not there",
			func(f *facts) { f.osRelease = nil; f.unreadable = []string{"partition 2 is xfs"} }, Unknown, "root", "xfs",
		},
		"no name to report": {
			"osImage is how a Node proves which image it runs",
			func(f *facts) { f.osRelease["PRETTY_NAME"] = "" }, Lacks, "os-release", "PRETTY_NAME",
		},
		"no version": {
			"versions could not be told apart",
			func(f *facts) { f.osRelease["IMAGE_VERSION"], f.osRelease["VERSION_ID"] = "", "" }, Lacks, "os-release", "IMAGE_VERSION",
		},
		"a name without the version": {
			"two versions would look the same in the Node list",
			func(f *facts) { f.osRelease["PRETTY_NAME"] = "Ingot OS" }, Note, "os-release", "does not contain",
		},
		"a family of its own": {
			"Talos has no kubelet to find",
			func(f *facts) { f.osRelease["ID"] = "talos"; f.programs = nil }, Note, "family", "Talos",
		},
		"a writable root": {
			"the node would drift",
			func(f *facts) { f.root = fsExt4 }, Lacks, "root", "writable",
		},
		"a root that is only mounted read-only": {
			"acceptable, but weaker",
			func(f *facts) { f.root = fsExt4; f.cmdlines = []string{"ro console=ttyS0"} }, Note, "root", "kernel argument",
		},
		"neither Ignition nor cloud-init": {
			"bootstrap data would never be read",
			func(f *facts) { delete(f.programs, "ignition") }, Lacks, "first boot", "initramfs",
		},
		"Ignition and cloud-init": {
			"both would configure the machine",
			func(f *facts) { f.programs["cloud-init"] = program{path: "/usr/bin/cloud-init"} }, Note, "cloud-init", "beside Ignition",
		},
		"an Ignition of the old specification": {
			"it refuses what Ingot renders",
			func(f *facts) { f.programs["ignition"] = program{"/usr/bin/ignition", "v0.36.2"} }, Lacks, "Ignition", "3.4",
		},
		"no kubeadm": {
			"nothing joins the node",
			func(f *facts) { delete(f.programs, "kubeadm") }, Lacks, "kubeadm", "install it",
		},
		"no kubelet": {
			"there is no node",
			func(f *facts) { delete(f.programs, "kubelet") }, Lacks, "kubelet", "install",
		},
		"no containerd": {
			"no pod starts",
			func(f *facts) { delete(f.programs, "containerd") }, Lacks, "containerd", "CRI",
		},
		"kubelet and kubeadm of different versions": {
			"kubeadm refuses that at join, minutes later",
			func(f *facts) { f.programs["kubelet"] = program{"/usr/bin/kubelet", "v1.35.0"} }, Lacks, "kubeadm", "v1.35.0",
		},
		"a kubelet unit without kubeadm's drop-in": {
			"the kubelet would start without the configuration that kubeadm writes",
			func(f *facts) { f.units["kubelet.service"] = "ExecStart=/usr/bin/kubelet" }, Lacks, "kubelet", "10-kubeadm.conf",
		},
		"no unit for containerd": {
			"nobody starts it",
			func(f *facts) { delete(f.units, "containerd.service") }, Lacks, "containerd", "no unit",
		},
		"a machine-id from the build": {
			"all nodes would be one, for DHCP and for the journal",
			func(f *facts) { f.machineID = &set }, Lacks, "machine-id", "uninitialized",
		},
		"SSH host keys from the build": {
			"a secret that all machines share is none",
			func(f *facts) { f.hostKeys = []string{"/etc/ssh/ssh_host_rsa_key"} }, Lacks, "host keys", "remove",
		},
		"an image that pulls": {
			"it may, but then it needs a registry",
			func(f *facts) { f.preloaded = nil }, Note, "preloaded", "registry",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := goodFacts()
			c.spoil(&f)
			var odd []Finding
			for _, finding := range judge(f) {
				if finding.Verdict != Has {
					odd = append(odd, finding)
				}
			}
			if len(odd) != 1 || odd[0].Verdict != c.verdict || odd[0].Subject != c.subject || !strings.Contains(odd[0].Message, c.says) {
				t.Fatalf("%s: got %v, want one finding %s about %s with %q", c.why, odd, c.verdict, c.subject, c.says)
			}
			if Lacking(odd) != (c.verdict == Lacks) {
				t.Errorf("%s: Lacking = %t", c.why, Lacking(odd))
			}
		})
	}
}
