#!/usr/bin/env bash
# Makes Schemathesis available to the tests: installed once from the packages that requirements.txt pins, kept in the cache.
# Prints its command on stdout; what is being done goes to stderr.
# Any Python of 3.11 or newer will do, that of the agent-server too; where there is none, uv fetches one.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
version=$(sed -n 's/^schemathesis==\([^ ]*\).*/\1/p' "$here/requirements.txt")
# Other pins are another installation.
target=$cache/schemathesis/$version-$(sha256sum "$here/requirements.txt" | cut -c 1-12)
note() { printf 'schemathesis: %s\n' "$*" >&2; }

mkdir -p "$cache/schemathesis"
exec 9>"$target.lock"
if ! flock -n 9; then note 'another process is installing it; waiting'; flock 9; fi
if [ -f "$target/complete" ]; then echo "$target/bin/schemathesis"; exit 0; fi

suits() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}
rm -rf "$target"
note "installing $version (up to a minute)"
python=
for candidate in python3 python3.13 python3.12 python3.11 "$cache"/agent-server/*/venv/bin/python; do
  if suits "$candidate"; then python=$candidate; break; fi
done
if [ -n "$python" ]; then
  "$python" -m venv "$target" >&2
else
  uv=$(command -v uv || ls "$cache"/agent-server/*/uv/bin/uv 2>/dev/null | head -n 1 || true)
  [ -n "$uv" ] || { note 'this machine has no Python of 3.11 or newer with venv, and no uv: install one of them'; exit 1; }
  UV_PYTHON_INSTALL_DIR=$cache/python "$uv" venv --quiet --seed --python '>=3.11' "$target" >&2
fi
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
  --requirement "$here/requirements.txt" >&2
touch "$target/complete"
echo "$target/bin/schemathesis"
