// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"crypto/sha256"
	"fmt"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

const (
	provePath = "/etc/ingot/prove"
	sumsPath  = "/etc/ingot/files.sha256"
	// appendFolder holds texts that are added to files, each below it at the path of its file.
	appendPath   = "/etc/ingot/append-texts"
	appendFolder = "/etc/ingot/append"
)

// appendScript adds the texts where they do not end the file already: some files outlive a boot, and others do not. yip itself
// only replaces files.
const appendScript = `#!/bin/sh
set -eu
cd ` + appendFolder + `
find . -type f | while IFS= read -r text; do
    file=${text#.}
    if [ -e "$file" ] && [ "$(tail -c "$(wc -c <"$text")" "$file"; echo .)" = "$(cat "$text"; echo .)" ]; then
        continue
    fi
    cat "$text" >>"$file"
done
`

// sums are the digests of files, as sha256sum reads them.
func sums(files []kubeadm.File) string {
	var out strings.Builder
	for _, f := range files {
		path := f.Path
		if f.Append {
			path = appendFolder + path
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(f.Data), path)
	}
	return out.String()
}

// proveScript fails where the machine is not what was described: yip goes on when it could not write a file, and immucore when it
// could not mount a folder. A control plane whose folders are not kept would begin anew at its next boot, as an empty cluster
// with the same name.
func proveScript(node kubeadm.Node, role bootstrapv1.Role) string {
	folders := "/etc/kubernetes /var/lib/kubelet"
	if role != bootstrapv1.RoleWorker {
		folders += " /var/lib/etcd"
	}
	masked := strings.Join(unitNames(node, func(u kubeadm.Unit) bool { return u.Masked }), " ")
	return fmt.Sprintf(`#!/bin/sh
# Fails where this machine is not what was described. kubeadm does not run then.
set -eu
for folder in %s; do
    cut -d ' ' -f 5 /proc/self/mountinfo | grep -qxF "$folder" && continue
    echo "ingot: $folder is not kept: nothing is mounted there" >&2
    exit 1
done
for unit in %s; do
    [ "$(readlink "%s$unit")" = /dev/null ] && continue
    echo "ingot: $unit is not masked" >&2
    exit 1
done
/bin/sh %s
sha256sum -c %s
`, folders, masked, unitFolder, appendPath, sumsPath)
}
