#!/usr/bin/env bash
# Measures the latency of a run against a bare Pod and a bare Job.
#
# usage: bench.sh BINDIR STATEDIR
set -euo pipefail
exec "$(dirname "$0")/test.sh" "$1" "$2" -run '^$' -bench . -benchtime "${SAMPLES:-20}x" -timeout 30m ./bench
