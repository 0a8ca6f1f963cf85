#!/usr/bin/env bash
# Runs the tests of both modules against a development cluster of their own,
# which is stopped at the end whatever happens.
#
# usage: test.sh BINDIR STATEDIR [go test flags and packages]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1") state=$(realpath -m "$2")
shift 2
# All packages that have tests. go test would also compile those that have none,
# with the race detector: the embedded Temporal of cmd/devstack takes minutes.
mapfile -t packages < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
for arg in "$@"; do [[ $arg != ./* ]] || packages=(); done

began=$SECONDS
say() { printf 'test  %4ds  %s\n' "$((SECONDS - began))" "$*" >&2; }

trap '"$bin/devcluster" down --state "$state/cluster" >/dev/null 2>&1 || true' EXIT
say "starting the development cluster"
# shellcheck disable=SC2086 # zero or more flags
"$bin/devcluster" up --state "$state/cluster" --gateway-ports 64 ${DEVCLUSTER_FLAGS:-}
say "building and loading images"
"$bin/devstack" images -bin "$bin" -out "$state/images" -state "$state/cluster" -refs "$state/images.env"

say "testing ${#packages[@]} packages${1:+ ($*)}"
export AGENTMARKET_TEST_BIN=$bin AGENTMARKET_TEST_STATE=$state
mkdir -p "$state"
if ! go test "$@" "${packages[@]}" 2>&1 | tee "$state/test.log"; then
	say "failed:" # again at the end, where it is seen
	grep -E -A 12 '^ *--- FAIL|^panic:|Error Trace:|WARNING: DATA RACE' "$state/test.log" | grep -v '"level":' | head -n 80 >&2
	exit 1
fi
if ((${#packages[@]})); then
	say "testing deploy/devcluster, with two clusters of its own"
	# Without cgo, as it was built: anything else compiles Kubernetes again.
	(cd deploy/devcluster && CGO_ENABLED=0 go test -tags e2e -timeout 15m ./...)
fi
say "done"
