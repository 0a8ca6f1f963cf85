#!/bin/sh
# Checks that this machine can run the development cluster and installs the Debian
# packages that it needs. With nothing to do it prints nothing and takes no time.
set -eu

missing=""

lack() {
	missing="$missing
  - $1"
}

give_up() {
	cat >&2 <<END
The development cluster cannot run on this machine:$missing

Two ways out:
  1. provide what is missing, and run the command again;
  2. use a cluster that exists: give KUBE_CONTEXT=<context> to make, with the name
     of a context of your kubeconfig ('kubectl config get-contexts' lists them).
END
	exit 1
}

[ "$(uname -s)" = Linux ] || lack "Linux: containers, cgroups and the firewall are the kernel's (this is $(uname -s))"
[ "$(id -u)" = 0 ] || lack "root: run the command as root (or with sudo)"
command -v go >/dev/null 2>&1 || lack "Go"

# PROGRAM:PACKAGE; a program may be one of several paths, separated by commas.
packages=""
needed="runc:runc
/usr/lib/cni/ptp,/opt/cni/bin/ptp,/usr/libexec/cni/ptp:containernetworking-plugins
iptables:iptables
ip:iproute2
mount:mount"

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
for line in $needed; do
	programs=${line%%:*} package=${line#*:} found=""
	for program in $(echo "$programs" | tr ',' ' '); do
		if command -v "$program" >/dev/null 2>&1; then found=yes; fi
	done
	[ -n "$found" ] || packages="$packages $package"
done

if [ -n "$packages" ] && ! command -v apt-get >/dev/null 2>&1; then
	for package in $packages; do
		lack "what Debian packages as '$package': this machine has no apt-get, install it with its own package manager"
	done
fi
[ -z "$missing" ] || {
	[ -z "$packages" ] || ! command -v apt-get >/dev/null 2>&1 || lack "Debian packages:$packages"
	give_up
}
[ -n "$packages" ] || exit 0

echo "preflight: installing Debian packages:$packages" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # $packages is a list
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
	tail -n 15 "$log" >&2
	for package in $packages; do
		lack "Debian package $package (apt-get could not install it, see above)"
	done
	give_up
fi
