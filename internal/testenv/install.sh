#!/usr/bin/env bash
# Installs what the tests run besides Go into the folder given: a Python venv (moto, cfn-lint, OAuth clients and verifiers)
# and node modules (dynalite, the like), or, asked for "sam", a venv with the SAM CLI. The stamp, the hash of the
# files that say what to install, is written last, so that an install which was cut short is started again, and one that
# is up to date costs a hash.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage="usage: install.sh DIRECTORY [sam]"
mkdir -p "${1:?$usage}"
dir=$(cd "$1" && pwd)

case ${2-} in
"")
	target=testdeps stamp=$dir/stamp what="moto, cfn-lint, dynalite, and OAuth clients and verifiers"
	sources=(requirements.txt package.json package-lock.json) tools=(python3 npm) venv=$dir/venv folders=(venv node_modules)
	;;
sam)
	target=samdeps stamp=$dir/sam.stamp what="the SAM CLI"
	sources=(requirements-sam.txt) tools=(python3) venv=$dir/sam folders=(sam)
	;;
*) echo "$usage" >&2; exit 2 ;;
esac

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
wanted=$(cd "$here" && cat "${sources[@]}" install.sh | sha256 | cut -d' ' -f1)
installed() {
	[[ $(cat "$stamp" 2>/dev/null) == "$wanted" && -x $venv/bin/python ]] || return
	local folder
	for folder in "${folders[@]}"; do [[ -d $dir/$folder ]] || return; done
}

installed && exit

for tool in "${tools[@]}"; do
	command -v "$tool" >/dev/null || { echo "$target: $tool is not on the PATH (see README, \"Tests\")" >&2; exit 1; }
done

# Two installs at once would tear each other's folders down.
if command -v flock >/dev/null; then
	exec 9>"$dir/lock"
	flock 9
	installed && exit
fi

rm -rf "$stamp" "${folders[@]/#/$dir/}"
echo "$target: installing $what"

python() {
	python3 -m venv "$venv" &&
		"$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check -r "$here/${sources[0]}"
}
python >"$venv.log" 2>&1 9>&- &
python=$!

node() {
	cp "$here/package.json" "$here/package-lock.json" "$dir" &&
		# No package needs an install script: the one native module, dynalite's, is optional and comes prebuilt.
		npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error
}
failed=
if [[ $target == testdeps ]]; then
	node >"$dir/node.log" 2>&1 9>&- || { failed=1; echo "$target: npm failed:" >&2; cat "$dir/node.log" >&2; }
fi
wait "$python" || { failed=1; echo "$target: Python's venv or pip failed:" >&2; cat "$venv.log" >&2; }
[[ -z $failed ]] || exit 1

echo "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
