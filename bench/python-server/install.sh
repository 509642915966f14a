#!/usr/bin/env bash
# Makes the Python server available to the bench: openhands-ai of one version, installed once, kept in the cache.
# Prints the command of its Python on stdout; what is being done goes to stderr.
# Takes a Python 3.12 or 3.13 of this machine, that of the installed agent-server too; where there is none, uv fetches one.
set -euo pipefail

version=1.11.0
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
constraints=$here/openhands-ai-$version.constraints.txt
# Other pins are another installation.
target=$cache/openhands-ai/$version-$(sha256sum "$constraints" | cut -c 1-12)
note() { printf 'openhands-ai: %s\n' "$*" >&2; }
fail() { note "$*"; exit 1; }

mkdir -p "$cache/openhands-ai"
exec 9>"$target.lock"
if ! flock -n 9; then note 'another process is installing it; waiting'; flock 9; fi
if [ -f "$target/complete" ]; then echo "$target/bin/python"; exit 0; fi
rm -rf "$target"

# $1 a command; true for a Python of the right age that can make environments
suits() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}
pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
python=
for candidate in python3.12 "$pyenv"/3.12*/bin/python3 python3.13 "$pyenv"/3.13*/bin/python3 python3 \
  "$cache"/agent-server/*/venv/bin/python; do
  if suits "$candidate"; then python=$candidate; break; fi
done

# uv does not read pip's configuration: index and certificates that this machine uses are handed over.
pip_setting() { "$1" -m pip config get "global.$2" 2>/dev/null || true; }
export UV_NO_PROGRESS=1 UV_LINK_MODE=copy
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then export UV_NATIVE_TLS=true; fi

if [ -n "$python" ]; then
  note "using $("$python" --version) ($(command -v "$python"))"
  "$python" -m venv "$target" >&2
  note 'installing uv, which resolves what pip gives up on'
  "$target/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
  uv=$target/bin/uv
else
  uv=$(command -v uv || ls "$cache"/agent-server/*/{uv,venv}/bin/uv 2>/dev/null | head -n 1 || true)
  [ -n "$uv" ] || fail 'this machine has no Python 3.12 or 3.13 with venv, and no uv that could fetch one: install one of them and run the bench again, or leave out --python'
  note 'this machine has no Python 3.12 or 3.13; uv fetches one'
  UV_PYTHON_INSTALL_DIR=$cache/python "$uv" venv --quiet --seed --python 3.12 "$target" >&2 ||
    fail 'uv could not fetch Python 3.12: install Python 3.12 and run the bench again, or leave out --python'
fi
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(pip_setting "$target/bin/python" index-url)}}
if [ -n "$index" ]; then export UV_DEFAULT_INDEX=$index; fi

note "installing version $version and the $(grep -vc '^#' "$constraints") packages it needs (one to five minutes)"
# Compiled as pip would: without byte code every start of a sandbox would take twice as long.
"$uv" pip install --quiet --compile-bytecode --python "$target/bin/python" --constraints "$constraints" \
  "openhands-ai==$version" >&2 ||
  fail "version $version could not be installed; the lines above say why. Without --python the bench shows recorded figures"
touch "$target/complete"
echo "$target/bin/python"
