// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// IdentityPath is the script with which a machine reports what its root is.
const IdentityPath = "/etc/ingot/report-identity"

// ReleaseFile is a file like os-release, with the fields of it that a machine reports.
type ReleaseFile struct {
	// Path is absolute.
	Path string
	// Fields are names of fields.
	Fields []string
}

// IdentityScript has the machine say what its running root is: fields of os-release, of what its image has beside it, and the
// boot that they were read in. It takes the os-release in /usr, which is the image's own. The kubelet's identity may change
// the annotations of its own Node, and nobody else's. The kubelet itself would put labels on its Node when it registers, and
// never again.
func IdentityScript(beside ...ReleaseFile) string {
	var fields strings.Builder
	for _, file := range beside {
		fmt.Fprintf(&fields, "release=%s\n", file.Path)
		fields.WriteString(reportFields(file.Fields))
	}
	osRelease := reportFields([]string{"ID", "VERSION_ID", "BUILD_ID", "VARIANT_ID", "IMAGE_ID", "IMAGE_VERSION", "OSTREE_VERSION"})
	return readOSRelease + osRelease + fields.String() + sendIdentity
}

// reportFields adds fields of a file to what is reported.
func reportFields(names []string) string {
	return fmt.Sprintf(`for field in %s; do
    value=$(sed -n "s/^$field=//p" "$release" | tail -n 1 | tr -cd 'A-Za-z0-9._~^+:-')
    [ -z "$value" ] || identity="$identity $field=$value"
done
`, strings.Join(names, " "))
}

const readOSRelease = `#!/bin/sh
set -eu
release=/usr/lib/os-release
[ -e "$release" ] || release=/etc/os-release
identity="boot=$(cat /proc/sys/kernel/random/boot_id)"
`

const sendIdentity = `server=$(sed -n 's/^ *server: *//p' /etc/kubernetes/kubelet.conf | head -n 1)
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
	node.Files = append(node.Files, File{Path: IdentityPath, Mode: 0o755, Data: []byte(IdentityScript())})
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
ExecStart=/bin/sh ` + IdentityPath + ` ` + node.Hostname + `
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
`,
	})
}
