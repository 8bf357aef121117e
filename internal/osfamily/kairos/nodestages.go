// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

const (
	// rootfs is the stage in which Kairos is told what to keep on the disk, and boot is the one of a system that runs.
	rootfs, boot = "rootfs", "boot"
	// layoutFile is what immucore mounts by. Kairos writes it in the same stage, before.
	layoutFile = "/run/cos/cos-layout.env"
	// keptFolders are mounted from the disk beside those that the image itself keeps. A node that loses one of them with a boot is
	// no node any more.
	keptFolders = "/etc/cni /etc/kubernetes /opt /var/lib/cni /var/lib/containerd /var/lib/etcd /var/lib/kubelet /var/log"
	// userdataFolder is where Kairos keeps what the platform delivered, for ever, and for everybody to read. hideUserdata keeps it
	// for root.
	userdataFolder = "/oem/95_userdata"
	hideUserdata   = "[ ! -e " + userdataFolder + " ] || chmod 0700 " + userdataFolder
	// isInstalled is met where Kairos runs from its disk: not in an installer, and not in a recovery system, which keeps nothing.
	isInstalled = "[ -e /run/cos/active_mode ] || [ -e /run/cos/passive_mode ]"
	// isNew is met until kubeadm has made the node.
	isNew = "{ " + isInstalled + "; } && [ ! -e /etc/kubernetes/kubelet.conf ]"
	// systemd is the one service manager that the units are for.
	systemd = "systemd"
)

// composeNode writes a node and what the user adds. /etc and /var of these images are new at every boot, but for a few folders,
// so everything is written at every boot, except what makes the node.
func composeNode(config document, node kubeadm.Node, role bootstrapv1.Role) document {
	config.Hostname = node.Hostname
	if len(config.Users) == 0 {
		config.Users = []account{{Name: user, LockPasswd: true}}
	}
	stages := map[string][]stage{
		rootfs: {{
			Name: "Ingot: folders that outlive a boot", If: isInstalled,
			EnvironmentFile: layoutFile, Environment: map[string]string{"CUSTOM_BIND_MOUNTS": keptFolders},
		}},
		initramfs: writeStages(node, role),
		boot:      {startStage(node)},
	}
	for name, list := range config.Stages {
		stages[name] = append(stages[name], list...)
	}
	config.Stages = stages
	return config
}

// writeStages write the node before its system starts. yip goes on when a step fails, so what makes the node proves what was
// written before it runs.
func writeStages(node kubeadm.Node, role bootstrapv1.Role) []stage {
	always, once := filesOf(node, role)
	commands := []string{
		hideUserdata,
		"mkdir -p " + strings.Join(foldersOf(slices.Concat(always, once)), " "),
	}
	if role != bootstrapv1.RoleWorker {
		commands = append(commands, "chmod 0700 /var/lib/etcd") // as kubeadm would make it
	}
	stages := []stage{
		{Name: "Ingot: folders", If: isInstalled, Commands: commands},
		{Name: "Ingot: files", If: isInstalled, Files: always},
		{Name: "Ingot: what makes the node", If: isNew, Files: once},
		{Name: "Ingot: texts that are added to files", If: isInstalled, Commands: []string{"/bin/sh " + appendPath}},
	}
	if masked := unitNames(node, func(u kubeadm.Unit) bool { return u.Masked }); len(masked) > 0 {
		stages = append(stages, stage{
			Name: "Ingot: units that never start", If: isInstalled, OnlyServiceManager: systemd,
			Commands: []string{"for unit in " + strings.Join(masked, " ") + "; do ln -sfT /dev/null " + unitFolder + "$unit; done"},
		})
	}
	return append(stages, stage{
		Name: "Ingot: units", If: isInstalled, OnlyServiceManager: systemd,
		Systemctl: &systemctl{Enable: unitNames(node, isEnabled)},
	})
}

// startStage starts what was enabled. That does nothing where systemd has started it already; but where the configuration
// arrived late, the stages before run on a system that has begun without it. Kairos sets kernel parameters of its own in this
// stage, before.
func startStage(node kubeadm.Node) stage {
	commands := []string{"systemctl daemon-reload"}
	if slices.ContainsFunc(node.Files, func(f kubeadm.File) bool { return strings.HasPrefix(f.Path, "/etc/sysctl.d/") }) {
		commands = append(commands, "systemctl restart systemd-sysctl.service")
	}
	commands = append(commands, "systemctl --no-block start "+strings.Join(unitNames(node, isEnabled), " "))
	return stage{Name: "Ingot: units run", If: isInstalled, OnlyServiceManager: systemd, Commands: commands}
}

func isEnabled(u kubeadm.Unit) bool { return u.Enabled && !u.Masked }

func unitNames(node kubeadm.Node, which func(kubeadm.Unit) bool) []string {
	var names []string
	for _, u := range node.Units {
		if which(u) {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return names
}

// filesOf are the files of every boot, and those that are gone, or must stay as they are, once the node has joined.
func filesOf(node kubeadm.Node, role bootstrapv1.Role) (always, once []file) {
	files := slices.Concat(node.Files, filesOfUnits(node.Units))
	slices.SortFunc(files, func(a, b kubeadm.File) int { return cmp.Compare(a.Path, b.Path) })
	files = append(files,
		kubeadm.File{Path: appendPath, Mode: 0o755, Data: []byte(appendScript)},
		kubeadm.File{Path: provePath, Mode: 0o755, Data: []byte(proveScript(node, role))})
	for _, f := range files {
		if f.Append {
			f.Path = appendFolder + f.Path
		}
		written := newFile(f.Path, uint32(f.Mode), f.Data)
		if makesNode(f) {
			once = append(once, written)
		} else {
			always = append(always, written)
		}
	}
	return always, append(once, newFile(sumsPath, 0o600, []byte(sums(files))))
}

// makesNode is whether kubeadm reads a file once, and takes it away or rules over it from then on.
func makesNode(f kubeadm.File) bool {
	return f.Path == "/etc/ingot/kubeadm.yaml" || strings.HasPrefix(f.Path, "/etc/kubernetes/")
}

// filesOfUnits are the files of units and their drop-ins.
func filesOfUnits(units []kubeadm.Unit) []kubeadm.File {
	var files []kubeadm.File
	for _, u := range units {
		if u.Contents != "" {
			files = append(files, kubeadm.File{Path: unitFolder + u.Name, Mode: 0o644, Data: []byte(u.Contents)})
		}
		for _, name := range slices.Sorted(maps.Keys(u.Dropins)) {
			files = append(files, kubeadm.File{Path: unitFolder + u.Name + ".d/" + name, Mode: 0o644, Data: []byte(u.Dropins[name])})
		}
	}
	return files
}
