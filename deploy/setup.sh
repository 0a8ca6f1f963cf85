#!/usr/bin/env bash
# Installs what this machine lacks for running and testing the platform. With
# nothing to do it prints nothing. KUBE_CONTEXT: an existing cluster is used, the
# development cluster and root are not needed.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v go >/dev/null; then
	echo "setup: Go $(sed -n 's/^go //p' go.mod) or newer is needed; install it and run the command again" >&2
	exit 1
fi
if [[ -z ${KUBE_CONTEXT:-} ]]; then
	deploy/devcluster/preflight.sh
fi

# PROGRAM:PACKAGE
packages=()
for line in gcc:gcc /usr/lib/gcc:libc6-dev /bin/busybox:busybox-static python3:python3; do
	program=${line%%:*} package=${line#*:}
	command -v "$program" >/dev/null || [[ -e $program ]] || packages+=("$package")
done
# The third example agent is busybox in an empty image: it must be static.
if [[ -x /bin/busybox ]] && ! dpkg -s busybox-static >/dev/null 2>&1; then
	packages+=(busybox-static)
fi
# The server, not only the client: tests start their own.
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
	packages+=(postgresql)
fi
((${#packages[@]})) || exit 0
if ! command -v apt-get >/dev/null; then
	echo "setup: this machine has no apt-get; install with its own package manager what Debian calls: ${packages[*]}" >&2
	exit 1
fi
echo "setup: installing Debian packages: ${packages[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# --no-install-recommends, and no cluster of Debian's own: nothing is started.
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
	tail -n 15 "$log" >&2
	echo "setup: apt-get could not install ${packages[*]} (see above)" >&2
	exit 1
fi
