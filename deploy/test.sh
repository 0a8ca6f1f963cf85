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
log=$state/test.log
: >"$log"
tested() { # go test's arguments
	go test "$@" 2>&1 | tee -a "$log"
}
devcluster() {
	say "testing deploy/devcluster, with two clusters of its own"
	# Without cgo, as it was built: anything else compiles Kubernetes again.
	(cd deploy/devcluster && CGO_ENABLED=0 tested -tags e2e -timeout 15m ./...)
}
failed=0
if ((${#packages[@]} == 0)); then
	tested "$@" || failed=1
elif [[ " $* " == *" -p "* ]]; then # who says how many run beside each other means it
	tested "$@" "${packages[@]}" || failed=1
	devcluster || failed=1
else
	# e2e takes as long as all others together, and waits for much of it: it runs beside
	# them from the beginning, and so do the clusters of devcluster. What they need is
	# compiled once.
	flags=()
	for arg in "$@"; do [[ $arg != -race && $arg != -gcflags=* ]] || flags+=("$arg"); done
	mapfile -t sources < <(go list -f '{{if .GoFiles}}{{.ImportPath}}{{end}}' "${packages[@]}")
	go build "${flags[@]}" "${sources[@]}"
	tested "$@" ./e2e &
	e2e=$!
	devcluster &
	clusters=$!
	mapfile -t others < <(printf '%s\n' "${packages[@]}" | grep -v '/e2e$')
	tested "$@" -p 1 "${others[@]}" || failed=1
	wait "$clusters" || failed=1
	wait "$e2e" || failed=1
fi
if ((failed)); then
	say "failed:" # again at the end, where it is seen
	grep -E -A 12 '^ *--- FAIL|^panic:|Error Trace:|WARNING: DATA RACE' "$log" | grep -v '"level":' | head -n 80 >&2
	exit 1
fi
say "done"
