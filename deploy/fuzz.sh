#!/usr/bin/env bash
# Fuzzes every target of the repository, one after the other, each for FUZZTIME. What a
# target finds is kept in its package's testdata, and is a test from then on.
#
# usage: fuzz.sh [FUZZTIME, default 1m]
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-1m} failed=0
while IFS=: read -r file _ line; do
	target=${line#func } target=${target%%(*}
	echo "fuzz: $target in $(dirname "$file") for $time" >&2
	CGO_ENABLED=0 go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "./$(dirname "$file")" || failed=1
done < <(git grep -nE '^func Fuzz[A-Za-z]*\(' -- '*_test.go')
exit "$failed"
