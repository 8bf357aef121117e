#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of all packages, or of those named. Three packages at a time: most start daemons of their own and then wait for
# them, and more at once would have them wait for the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

everything=$(( $# == 0 ))
(( $# )) || set -- ./...
gotestsum=$(go -C hack/tools tool -n gotestsum)
run() { "$gotestsum" --format pkgname-and-test-fails --hide-summary skipped -- "$@"; }

run -p 3 -timeout 20m "$@"
# Alerts and dashboard are checked in a module of their own, by files of this one: the cache of go test does not see them.
# Kairos' own code judges what is rendered for it in a module of its own, too, and so does that of older releases of Talos.
(( ! everything )) || {
  for module in test/monitoring test/kairos test/talos; do (cd "$module" && run -count=1 ./...); done
  (cd test/talos && run -count=1 -modfile=1.12.mod ./... -release=1.12)
}
