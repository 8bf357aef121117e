#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of all packages, or of those named. Two packages at a time: many start an API server of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

(( $# )) || set -- ./...
gotestsum=$(go -C hack/tools tool -n gotestsum)
"$gotestsum" --format pkgname-and-test-fails --hide-summary skipped -- -p 2 -timeout 20m "$@"
