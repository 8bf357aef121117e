#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Generates what follows from Go source: deepcopy methods, CRDs, and one ClusterRole per role from the markers on its
# reconcilers; and, from the source of Talos' machinery, what came with which of its releases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

controller_gen=$(go -C hack/tools tool -n controller-gen)

go run ./hack/talosfields

"$controller_gen" object:headerFile=hack/boilerplate.go.txt crd paths=./api/... output:crd:dir=config/crd/bases

generate_role() { # role, packages...
  local role=$1 path arguments=()
  shift
  for path in "$@"; do arguments+=("paths=$path"); done
  "$controller_gen" rbac:roleName=manager-role "${arguments[@]}" output:rbac:dir="config/rbac/$role"
  [[ -s config/rbac/$role/role.yaml ]] || {
    echo "no +kubebuilder:rbac marker found for role $role in: $*" >&2
    return 1
  }
}
generate_role infrastructure ./controllers/...
generate_role bootstrap ./bootstrap/...
generate_role control-plane ./controlplane/...
