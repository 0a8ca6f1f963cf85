#!/usr/bin/env bash
# Measures what docs/performance.md claims, but for what takes simulated nodes: those
# benchmarks are `make bench-scale`.
#
# usage: bench.sh BINDIR STATEDIR
set -euo pipefail
exec "$(dirname "$0")/test.sh" "$1" "$2" -run '^$' -bench . -skip '^BenchmarkScale' -benchtime "${SAMPLES:-20}x" -timeout 30m ./bench
