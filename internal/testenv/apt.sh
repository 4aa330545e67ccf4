# Sourced by scripts that install Debian's packages. They set me, by which they are called in what they print.
have() { command -v "$1" >/dev/null 2>&1; }
die() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }

as_root() {
	if [[ $EUID -eq 0 ]]; then "$@"; else have sudo || die "this needs root or sudo: $*"; sudo "$@"; fi
}

apt_updated=
apt_update() { [[ -n $apt_updated ]] || { as_root apt-get update -qq; apt_updated=1; }; }

apt_install() {
	have apt-get || die "missing: $*. Only Debian's packages can be installed here; install them and run this again."
	apt_update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
