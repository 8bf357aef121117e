#!/usr/bin/env bash
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks that the linter's configuration is valid, that every module is tidy, and that what is generated is as the
# source says. It compares with the files as they were found, so it also works before a commit; what it generated stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0

"$(go -C hack/tools tool -n golangci-lint)" config verify || failed=1

while IFS= read -r module; do
  go -C "$(dirname "$module")" mod tidy -diff || { echo "verify: run go mod tidy in $(dirname "$module")" >&2; failed=1; }
done < <(find . -name go.mod -not -path './bin/*' | sort)
go -C test/talos mod tidy -diff -modfile=1.12.mod || { echo "verify: run go mod tidy -modfile=1.12.mod in test/talos" >&2; failed=1; }

generated() { find api config internal/osfamily/talos/zz_generated.releases.go -type f -exec sha256sum {} + | sort -k 2; }
before=$(generated)
hack/generate.sh
diff <(echo "$before") <(generated) || { echo "verify: generated files were out of date, commit them as they are now" >&2; failed=1; }

(( failed == 0 )) && echo "verify: ok"
exit "$failed"
