#!/usr/bin/env bash
# Builds every program into OUTDIR: the platform, the development stack, the
# supervisor and the example agents, and the development cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
mkdir -p "$out"
# The same settings everywhere, so that building, testing and linting share one
# build cache.
export CGO_ENABLED=0

if [[ -z ${KUBE_CONTEXT:-} || ! -x $out/devcluster ]]; then
	deploy/devcluster/build.sh "$out"
fi
[[ -x $out/devstack ]] || echo "build: the first build compiles Temporal and its Web UI: 2 to 5 minutes on 2 cores, seconds afterwards" >&2
(
	while sleep 20; do echo "build: $SECONDS s, still compiling" >&2; done
) &
ticker=$!
trap 'kill $ticker 2>/dev/null || true' EXIT
go build -ldflags '-s -w' -o "$out/" ./cmd/agentmarket ./cmd/devstack
# What goes into images is the same bytes for the same source, in every checkout
# and at every commit: a digest is an identity.
go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o "$out/" \
	./cmd/agent-runtime ./examples/agents/hello ./examples/agents/research ./examples/agents/summarize
