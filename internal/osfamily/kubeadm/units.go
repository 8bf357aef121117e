// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// joinPath is the script that joins a control plane.
const joinPath = "/etc/ingot/join"

// joinScript has kubeadm go on where etcd did not answer in time. kubeadm gives some of its questions to etcd two seconds,
// once, which nobody can change; the phases that ask can be repeated. Whoever did not come as far as that is not repaired.
const joinScript = `#!/bin/sh
/usr/bin/kubeadm join --config ` + kubeadmPath + ` && exit 0
for try in 1 2 3 4 5; do
    [ -e /var/lib/kubelet/kubeadm-flags.env ] || exit 1
    echo "ingot: kubeadm join goes on in 10 s (try $try of 5)"
    sleep 10
    /usr/bin/kubeadm join --config ` + kubeadmPath + ` --skip-phases=preflight,control-plane-prepare,kubelet-start && exit 0
done
exit 1
`

// bootstrapUnit runs kubeadm. What failed half way is not repaired in place, the machine is replaced. Its output goes to the
// console, so that it can be read from outside; therefore nothing that it prints may be secret.
func bootstrapUnit(role bootstrapv1.Role) Unit {
	command, does := "join", "/usr/bin/kubeadm join --config "+kubeadmPath
	switch role {
	case bootstrapv1.RoleInit:
		command, does = "init", "/usr/bin/kubeadm init --config "+kubeadmPath+" --skip-token-print"
	case bootstrapv1.RoleControlPlane:
		does = "/bin/sh " + joinPath
	case bootstrapv1.RoleWorker:
	}
	return Unit{
		Name:    "ingot-bootstrap.service",
		Enabled: true,
		Contents: fmt.Sprintf(`[Unit]
Description=Make this machine a Kubernetes node
Wants=network-online.target
Requires=containerd.service
After=network-online.target containerd.service
ConditionPathExists=!/etc/kubernetes/kubelet.conf

[Service]
Type=oneshot
RemainAfterExit=yes
StandardOutput=journal+console
StandardError=inherit
ExecStart=%[3]s
ExecStartPost=/usr/bin/rm -f %[2]s
ExecStartPost=/usr/bin/mkdir -p %[4]s
ExecStartPost=/usr/bin/touch %[4]s/%[5]s
ExecStartPost=/usr/bin/echo "ingot: kubeadm %[1]s finished"

[Install]
WantedBy=multi-user.target
`, command, kubeadmPath, does, sentinelFolder, sentinelName),
	}
}

// guardRails keep an image from changing itself: nodes are replaced, not patched. A unit that the image does not have
// may be masked all the same.
func guardRails() []Unit {
	var units []Unit
	for _, name := range []string{
		// systemd's own
		"systemd-sysupdate.timer", "systemd-sysupdate.service",
		"systemd-sysupdate-reboot.timer", "systemd-sysupdate-reboot.service",
		// Debian and Ubuntu
		"apt-daily.timer", "apt-daily.service", "apt-daily-upgrade.timer", "apt-daily-upgrade.service",
		"unattended-upgrades.service",
		"snapd.socket", "snapd.service", "snapd.snap-repair.timer", "snapd.refresh.timer",
		// Fedora, its relatives and Photon
		"dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer", "tdnf-automatic.timer",
		"rpm-ostreed-automatic.timer", "zincati.service", "bootc-fetch-apply-updates.timer",
		// SUSE
		"transactional-update.timer",
		// Flatcar and its relatives
		"update-engine.service", "locksmithd.service",
	} {
		units = append(units, Unit{Name: name, Masked: true})
	}
	return units
}
