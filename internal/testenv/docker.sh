#!/usr/bin/env bash
# Runs a command with a Docker engine that has the base image of `sam local`:
#
#	docker.sh COMMAND [ARGUMENT...]
#
# It takes the engine that answers here. Where none does, it installs Debian's docker.io, if there is no dockerd yet, and runs an
# engine of its own in a temporary folder, which is gone with all that it holds when the command has ended. What else was made
# for the command is removed then too; packages and an image that was pulled stay.
set -euo pipefail

me=test-sam
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"
say() { printf '%s: %s\n' "$me" "$*"; }
(($#)) || die "usage: docker.sh COMMAND [ARGUMENT...]"

case $(uname -m) in
x86_64) arch=x86_64 ;;
aarch64 | arm64) arch=arm64 ;;
*) die "Lambda runs on x86_64 and arm64, and not on $(uname -m)" ;;
esac
base=public.ecr.aws/lambda/provided:al2023-$arch

dir=$(mktemp -d)
own_bridge= own_image=
stop_engine() { [[ ! -s $dir/pid ]] || as_root kill "$(<"$dir/pid")" 2>/dev/null || true; }
finish() {
	local status=$?
	trap - EXIT
	# Ctrl-C is for all of them: the engine is ended once the command has cleaned up after itself.
	trap '' INT TERM
	if [[ -n $own_image ]]; then
		docker image rm --force "$base" "${base/al2023-/al2023-rapid-}" >/dev/null 2>&1 || true
	fi
	stop_engine
	wait
	[[ -z $own_bridge ]] || as_root ip link delete docker0 2>/dev/null || true
	rm -rf "$dir" 2>/dev/null || as_root rm -rf "$dir"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

answers() { have docker && docker version >/dev/null 2>&1; }

# Debian starts what it installs, unless this file says no.
install_engine() {
	local policy=/usr/sbin/policy-rc.d
	say "no Docker engine answers here: installing Debian's docker.io"
	if [[ -e $policy ]]; then
		apt_install docker.io iproute2
	else
		printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
		apt_install docker.io iproute2 || { as_root rm "$policy"; die "Debian's docker.io could not be installed"; }
		as_root rm "$policy"
	fi
	have docker || apt_install docker-cli # a package of its own since Debian 13
}

# Nothing of the host's network is changed but for the bridge, which goes when the engine does. overlay2 doesn't work on all
# file systems; vfs does.
start_engine() {
	local driver i
	export DOCKER_HOST=unix://$dir/docker.sock
	[[ -e /sys/class/net/docker0 ]] || own_bridge=1
	for driver in overlay2 vfs; do
		say "starting a Docker engine in $dir, with $driver"
		as_root dockerd --host "$DOCKER_HOST" --group "$(id -g)" --pidfile "$dir/pid" --data-root "$dir/data" --exec-root "$dir/exec" \
			--storage-driver "$driver" --iptables=false --ip-forward=false --ip-masq=false >"$dir/log" 2>&1 &
		for ((i = 0; i < 600; i++)); do
			! answers || return 0
			kill -0 $! 2>/dev/null || break
			sleep 0.1
		done
		stop_engine
		wait
	done
	tail -n 20 "$dir/log" >&2
	die "the Docker engine does not start: see above"
}

if ! answers; then
	[[ ! -S /var/run/docker.sock || -w /var/run/docker.sock ]] ||
		die "a Docker engine is here that $(id -un) may not use: run this as root, or as a member of the group docker"
	[[ $EUID -eq 0 ]] || have sudo ||
		die "no Docker engine answers here, and starting one needs root or sudo: start Docker, so that \`docker version\` shows a server, and run this again"
	have dockerd && have ip || install_engine
	start_engine
fi

# stand_in is the base image as far as functions that bring all that they need can tell: what is in it is a shell.
stand_in() {
	have apt-get && have dpkg-deb || die "$base can't be pulled, and a stand-in is made of Debian's busybox-static: docker pull it, and run this again"
	mkdir -p "$dir/package" "$dir/root/tmp" "$dir/root/var/task"
	apt_update
	(cd "$dir/package" && apt-get download -qq busybox-static >/dev/null 2>&1) || die "Debian's busybox-static can't be downloaded"
	dpkg-deb -x "$dir/package"/*.deb "$dir/root"
	for applet in $("$dir/root/bin/busybox" --list); do
		[[ $applet == busybox ]] || ln -s busybox "$dir/root/bin/$applet"
	done
	tar -C "$dir/root" -c bin tmp var | docker import - "$base" >/dev/null
}

if ! docker image inspect "$base" >/dev/null 2>&1; then
	say "pulling $base, for a minute at most"
	if ! timeout 60 docker pull --quiet "$base" >"$dir/pull" 2>&1; then
		say "it can't be pulled ($(tail -n 1 "$dir/pull")): a stand-in with nothing but busybox takes its place"
		own_image=1
		stand_in
	fi
fi

status=0
"$@" || status=$?
exit "$status"
