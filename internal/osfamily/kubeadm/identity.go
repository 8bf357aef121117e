// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// identityPath is the script with which a machine reports what its root is.
const identityPath = "/etc/ingot/report-identity"

// identityScript has the machine say what its running root is: fields of os-release, and the boot that they were read in. It
// takes the file in /usr, which is the image's own. The kubelet's identity may change the annotations of its own Node, and
// nobody else's. The kubelet itself would put labels on its Node when it registers, and never again.
const identityScript = `#!/bin/sh
set -eu
release=/usr/lib/os-release
[ -e "$release" ] || release=/etc/os-release
identity="boot=$(cat /proc/sys/kernel/random/boot_id)"
for field in ID VERSION_ID BUILD_ID VARIANT_ID IMAGE_ID IMAGE_VERSION OSTREE_VERSION; do
    value=$(sed -n "s/^$field=//p" "$release" | tail -n 1 | tr -cd 'A-Za-z0-9._~^+:-')
    [ -z "$value" ] || identity="$identity $field=$value"
done
server=$(sed -n 's/^ *server: *//p' /etc/kubernetes/kubelet.conf | head -n 1)
exec curl --silent --show-error --fail --max-time 20 --output /dev/null \
    --cacert /etc/kubernetes/pki/ca.crt --cert /var/lib/kubelet/pki/kubelet-client-current.pem \
    --request PATCH --header 'Content-Type: application/merge-patch+json' \
    --data "{\"metadata\":{\"annotations\":{\"` + ingotv1.NodeIdentityAnnotation + `\":\"$identity\"}}}" "$server/api/v1/nodes/$1"
`

// reportsIdentity is whether the machine is asked to report.
func reportsIdentity(node bootstrapv1.NodeSettings) bool {
	return node.IdentityReport == bootstrapv1.IdentityReportOSRelease
}

// addIdentity has the machine report on each boot, until the API server has taken it.
func addIdentity(node *Node) {
	node.Files = append(node.Files, File{Path: identityPath, Mode: 0o755, Data: []byte(identityScript)})
	node.Units = append(node.Units, Unit{
		Name:    "ingot-identity.service",
		Enabled: true,
		Contents: `[Unit]
Description=Report to the cluster what the root of this machine is
Wants=network-online.target
After=network-online.target ingot-bootstrap.service kubelet.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh ` + identityPath + ` ` + node.Hostname + `
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
`,
	})
}
