#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of all packages, or of those named. Three packages at a time: most start daemons of their own and then wait for
# them, and more at once would have them wait for the machine. vet is left to make lint, which runs all of it. Nothing loads
# plugins of kustomize: without them the linker drops what is not called.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

everything=$(( $# == 0 ))
# The longest first, in the order in which they start: at the end nobody waits for one of them alone.
(( $# )) || set -- ./internal/platform/vsphere ./test/controlplane ./controllers/machine ./test/survive ./internal/platform/libvirt \
  ./test/integration ./controlplane/controller ./test/vcenters ./controlplane/etcd ./...
gotestsum=$(go -C hack/tools tool -n gotestsum)
run() { "$gotestsum" --format pkgname-and-test-fails --hide-summary skipped -- -vet=off "$@"; }

run -p 3 -timeout 20m -tags kustomize_disable_go_plugin_support "$@"
# Alerts and dashboard are checked in a module of their own, by files of this one: the cache of go test does not see them.
# Kairos' own code judges what is rendered for it in a module of its own, too, and so does that of older releases of Talos.
(( ! everything )) || {
  for module in test/monitoring test/kairos test/talos; do (cd "$module" && run -count=1 ./...); done
  (cd test/talos && run -count=1 -modfile=1.12.mod ./... -release=1.12)
}
