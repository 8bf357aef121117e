// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import (
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// kubeadmUnit is the unit that makes the node.
const kubeadmUnit = "ingot-bootstrap.service"

// claim is what an addition may not touch.
type claim struct {
	// path is a pattern; an asterisk stands for any part of one element.
	path string
	// tree says that what is below belongs to it.
	tree bool
	// except is a path below that does not. Empty means none.
	except string
	// mountable says that another file system may be mounted there, if it is mounted on every boot.
	mountable bool
	// setting is the name of a setting or a kernel argument, where there is no path.
	setting string
	// device is the name of a volume or a file system, or the device of one, where there is no path.
	device string
	// says completes a sentence that begins with the part: why not, and what to do.
	says string
}

// What claims say.
const (
	saysWritten  = "is written by Ingot: remove it, or use another path"
	saysAbove    = "holds what Ingot writes or keeps: remove it, and name only what is meant below it"
	saysUnit     = "is a unit of Ingot's: remove it, or write a unit of another name"
	saysGuard    = "would undo what keeps the operating system from changing itself: remove it, or set spec.selfUpdate to Allowed"
	saysReserved = "lies where only Ingot writes: use another path"
	saysKubeadm  = "is made by kubeadm on the node: remove it"
	saysReadOnly = "lies in a part of the image that cannot be written: use another path, for example below /opt or /etc"
	saysEvery    = "would change units of Ingot's with all others: write a drop-in for each unit that is meant"
	saysPresets  = "would decide which units of Ingot's are enabled: enable and mask units in systemd.units"
	saysOverlay  = "would come before the units that Ingot writes: use /etc/systemd/system"
	saysSysext   = "would be in the way of a system extension of spec.ignition.sysexts: remove it, or list it there"
	saysSetting  = "is set by Ingot for what it fetches itself: remove it"
	saysRoot     = "belongs to the root that spec.diskEncryption encrypts: remove it, or remove diskEncryption"
)

// claims lists what the configuration writes, and where else an addition could undo it.
func claims(config ignition.Config, image Image, spec bootstrapv1.IngotConfigSpec) []claim {
	list := append(guards(image, spec.SelfUpdate), standing()...)
	for _, s := range spec.Ignition.Sysexts {
		for _, folder := range []string{"/etc/extensions/", "/run/extensions/", "/var/lib/extensions/"} {
			list = append(list, claim{path: folder + s.Name, tree: true, says: saysSysext}, claim{path: folder + s.Name + ".raw*", tree: true, says: saysSysext})
		}
	}
	list = append(list, claim{path: "/usr", tree: true, except: image.WritableUsr, says: saysReadOnly})
	for _, path := range []string{"/bin", "/sbin", "/lib", "/lib64"} { // links into /usr
		list = append(list, claim{path: path, tree: true, says: saysReadOnly})
	}
	for _, f := range config.Files {
		list = append(list, claim{path: f.Path, says: saysWritten})
	}
	for _, l := range config.Links {
		list = append(list, claim{path: l.Path, says: saysWritten})
	}
	for _, f := range config.Folders {
		list = append(list, claim{path: f.Path, tree: true, mountable: true, says: saysWritten})
	}
	for _, v := range config.Encrypted {
		for _, device := range []string{v.Name, v.Device, v.Opened()} {
			list = append(list, claim{device: device, says: saysRoot})
		}
		list = append(list, claim{path: "/", says: saysRoot})
	}
	for _, u := range config.Units {
		list = append(list, claimsOfUnit(u)...)
	}
	if config.FetchTimeout > 0 {
		list = append(list, claim{setting: ignition.SettingFetchTimeout, says: saysSetting})
	}
	return list
}

// guards is where an addition could turn the updates of the operating system on again, beside the units that are masked.
func guards(image Image, selfUpdate bootstrapv1.SelfUpdate) []claim {
	if selfUpdate == bootstrapv1.SelfUpdateAllowed {
		return nil
	}
	list := []claim{{path: "/etc/sysupdate*.d", tree: true, says: saysGuard}}
	for _, f := range image.GuardRails.Files {
		list = append(list, claim{path: f.Path, says: saysGuard})
	}
	for _, path := range image.GuardRails.Paths {
		list = append(list, claim{path: path, tree: true, says: saysGuard})
	}
	return list
}

// claimsOfUnit covers every folder where systemd finds a unit, its drop-ins and what wants it.
func claimsOfUnit(u ignition.Unit) []claim {
	says := saysUnit
	if u.Masked {
		says = saysGuard
	}
	list := []claim{
		{path: "/etc/systemd/*/" + u.Name, says: says},
		{path: "/etc/systemd/*/" + u.Name + ".d", tree: true, says: says},
		{path: "/etc/systemd/*/*.wants/" + u.Name, says: says},
		{path: "/etc/systemd/*/*.requires/" + u.Name, says: says},
	}
	if !u.Masked {
		list = append(list, claim{setting: "systemd.mask=" + u.Name, says: says})
	}
	return list
}

// standing is what no addition may touch, whatever the configuration holds.
func standing() []claim {
	var list []claim
	add := func(says string, tree bool, paths ...string) {
		for _, path := range paths {
			list = append(list, claim{path: path, tree: tree, says: says})
		}
	}
	add(saysReserved, true, "/etc/ingot", "/run/ingot", "/run/cluster-api")
	add(saysKubeadm, true, "/etc/kubernetes/pki")
	add(saysKubeadm, false, "/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf", "/etc/kubernetes/controller-manager.conf",
		"/etc/kubernetes/scheduler.conf", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/bootstrap-kubelet.conf",
		"/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env")
	add(saysEvery, true, "/etc/systemd/*/service.d", "/etc/systemd/*/"+strings.Split(kubeadmUnit, "-")[0]+"-.service.d")
	add(saysPresets, true, "/etc/systemd/*-preset")
	add(saysOverlay, true, "/etc/systemd/system.control", "/etc/systemd/system.attached")
	return list
}
