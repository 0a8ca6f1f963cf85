#!/bin/sh
# Builds the development cluster's programs into OUTDIR: devcluster (with kubectl
# as a link to it), containerd, containerd-shim-runc-v2, ctr and pause. Go's build
# cache makes a second run take seconds.
#
# usage: build.sh OUTDIR
set -eu

if [ $# -ne 1 ]; then
	echo "usage: $0 OUTDIR" >&2
	exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"

export CGO_ENABLED=0
began=$(date +%s)

say() {
	printf 'build %5ss  %s\n' "$(($(date +%s) - began))" "$*" >&2
}

# build NAME FOLDER PACKAGE LDFLAGS: prints a line every 20 s, because the first
# build of Kubernetes is silent for minutes.
build() {
	name=$1 folder=$2 package=$3 flags=$4
	say "$name"
	(
		seconds=0
		while sleep 1; do
			seconds=$((seconds + 1))
			[ $((seconds % 20)) -ne 0 ] || say "$name, still building"
		done
	) &
	ticker=$!
	if (cd "$folder" && go build -ldflags "-s -w $flags" -o "$out/$name" "$package"); then
		kill "$ticker"
	else
		kill "$ticker"
		say "$name failed"
		exit 1
	fi
	wait "$ticker" 2>/dev/null || true
}

# The version of Kubernetes is that of go.mod; components and kubectl compare it.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
minor=${minor%%.*}
v=k8s.io/component-base/version

if [ ! -x "$out/devcluster" ]; then
	say "the first build compiles Kubernetes $version and containerd: 5 to 15 minutes on 2 cores, seconds afterwards"
fi
build devcluster . . "-X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=$minor"
build pause ./pause . ""
containerd=github.com/containerd/containerd/v2
for program in containerd containerd-shim-runc-v2 ctr; do
	build "$program" ./containerd "$containerd/cmd/$program" ""
done
ln -sf devcluster "$out/kubectl"
say "done: $out"
