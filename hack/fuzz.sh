#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzzer of the packages named, or of those that take what people write, each for FUZZTIME. An input that reaches
# something new is made smaller for a hundred tries. Without that, go test spends its default of a minute on the first of them,
# and a fuzzer whose seeds are long tries nothing else. What fails is written to testdata/fuzz of its package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

(( $# )) || set -- ./internal/osfamily/... ./internal/admission/...
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$@")
for package in $packages; do
  fuzzers=$(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
  for fuzzer in $fuzzers; do
    echo "== $package $fuzzer"
    go test "$package" -run '^$' -fuzz "^$fuzzer\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 100x
  done
done
