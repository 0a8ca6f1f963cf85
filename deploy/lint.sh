#!/usr/bin/env bash
# Formatting, vet and linters, and the determinism of workflows. The linters are
# built once, at pinned versions, into BINDIR.
#
# usage: lint.sh BINDIR GOLANGCI_LINT_VERSION WORKFLOWCHECK_VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
bin=$(realpath "$1") golangci=$2 workflowcheck=$3

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
if [[ -n $unformatted ]]; then
	printf 'lint: not formatted, run gofmt -w on:\n%s\n' "$unformatted" >&2
	exit 1
fi
install() { # PACKAGE VERSION
	local marker="$bin/.$(basename "$1")-$2"
	[[ ! -e $marker ]] || return 0
	echo "lint: building $(basename "$1") $2 (once)" >&2
	CGO_ENABLED=0 GOBIN=$bin go install "$1@$2"
	touch "$marker"
}
install github.com/golangci/golangci-lint/v2/cmd/golangci-lint "$golangci"
install go.temporal.io/sdk/contrib/tools/workflowcheck "$workflowcheck"

export CGO_ENABLED=0 # the cache of the build
"$bin/workflowcheck" -config .workflowcheck.yaml ./workflows/...
"$bin/golangci-lint" run ./...
(cd deploy/devcluster && "$bin/golangci-lint" run --config ../../.golangci.yml ./...)
