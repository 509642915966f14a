#!/usr/bin/env bash
# Makes the OpenHands agent-server available on this machine.
#
#   scripts/agent-server.sh [--version V] [--prefix DIR] [--method auto|venv|uv|chroot] [--reinstall]
#
# Prints one line on stdout, the command that starts the agent-server; what is being done goes to
# stderr. A second run only prints the command again.
#
#   --version V    version of openhands-agent-server, -sdk and -tools  [AGENT_SERVER_VERSION, 1.34.0]
#   --prefix DIR   where to install   [$XDG_CACHE_HOME or ~/.cache, callboard/agent-server/<version>]
#   --method M     venv    with a Python 3.12 or 3.13 of this machine
#                  uv      with uv (this machine's, or one that pip installs), which fetches a Python
#                  chroot  in a small Debian 13 root, made by debootstrap (Debian or Ubuntu, as root)
#                  auto    the first of these that works
#   --reinstall    remove what is there and start over
#
# Versions of the dependencies come from agent-server-<version>.constraints.txt beside this script.
#
# The command takes the agent-server's own flags, passes the environment on, works in the current
# directory, and becomes the server by exec: signals sent to its pid reach the server. From a chroot
# it sees this machine's /tmp, the current directory and the directories in AGENT_SERVER_BIND
# (separated by colons) under their own names; the mounts vanish with it.
set -euo pipefail

note() { printf 'agent-server: %s\n' "$*" >&2; }
fail() { note "$*"; exit 1; }

version=${AGENT_SERVER_VERSION:-1.34.0} prefix='' method=auto reinstall=''
while [ $# -gt 0 ]; do
  case $1 in
    --version) version=${2:?--version needs a value}; shift ;;
    --prefix) prefix=${2:?--prefix needs a value}; shift ;;
    --method) method=${2:?--method needs a value}; shift ;;
    --reinstall) reinstall=yes ;;
    --help | -h) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; exit 0 ;;
    *) fail "unknown argument $1; --help tells the known ones" ;;
  esac
  shift
done
case $method in
  auto) methods=(venv uv chroot) ;;
  venv | uv | chroot) methods=("$method") ;;
  *) fail "unknown method $method; --help tells the known ones" ;;
esac
[[ $version =~ ^[0-9A-Za-z.+-]+$ ]] || fail "$version is no version"

prefix=${prefix:-${XDG_CACHE_HOME:-$HOME/.cache}/callboard/agent-server/$version}
mkdir -p "$(dirname "$prefix")"
prefix=$(cd "$(dirname "$prefix")" && pwd -P)/$(basename "$prefix")
case $prefix in *[\'\"\\\$\`:]*) fail "a path with quotes, colons or dollar signs will not do: $prefix" ;; esac

constraints=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/agent-server-$version.constraints.txt
packages=("openhands-agent-server==$version" "openhands-sdk==$version" "openhands-tools==$version")
command=$prefix/bin/agent-server
complete=$prefix/complete # names the method, and is there only after everything else is

if command -v flock >/dev/null; then
  exec 9>"$prefix.lock"
  if ! flock -n 9; then note 'another process is installing it; waiting'; flock 9; fi
fi

# Never deletes through a mount, however it came to be below the prefix.
remove() {
  [ -e "$1" ] || return 0
  if awk -v dir="$1/" 'index($2 "/", dir) == 1 { found = 1 } END { exit !found }' /proc/self/mounts 2>/dev/null; then
    fail "something is mounted below $1; unmount it and try again"
  fi
  rm -rf -- "$1"
}

# ------------------------------------------------------------------------- Python packages, by uv
# pip itself gives up on this dependency graph. uv does not read pip's configuration: the index and
# the certificates this machine uses are handed over by variables.
pip_setting() {
  local variable=PIP_${1^^} file value
  variable=${variable//-/_}
  if [ -n "${!variable:-}" ]; then printf '%s' "${!variable}"; return; fi
  for file in "${PIP_CONFIG_FILE:-/nonexistent}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    [ -f "$file" ] || continue
    value=$(awk -F= -v key="$1" '{ name = $1; gsub(/[ \t]/, "", name) } name == key { sub(/^[^=]*=[ \t]*/, ""); print; exit }' "$file")
    if [ -n "$value" ]; then printf '%s' "$value"; return; fi
  done
}

uv_settings() {
  local index extra
  index=${UV_DEFAULT_INDEX:-$(pip_setting index-url)}
  extra=${UV_INDEX:-$(pip_setting extra-index-url)}
  printf '%s\n' UV_NO_PROGRESS=1 UV_LINK_MODE=copy
  [ -z "$index" ] || printf 'UV_DEFAULT_INDEX=%s\n' "$index"
  [ -z "$extra" ] || printf 'UV_INDEX=%s\n' "$extra"
  [ ! -s /etc/ssl/certs/ca-certificates.crt ] || printf 'UV_NATIVE_TLS=true\n'
}

# $1 uv, $2 python of the environment
install_packages() {
  local settings constrained=()
  mapfile -t settings < <(uv_settings)
  [ ! -f "$constraints" ] || constrained=(--constraints "$constraints")
  note "installing ${packages[*]} and what they need (up to two minutes)"
  # Compiled now: without byte code every start of a server would take twice as long.
  env "${settings[@]}" "$1" pip install --quiet --compile-bytecode --python "$2" "${constrained[@]}" "${packages[@]}" >&2
}

check_versions='
import importlib.metadata, sys
for name in ("openhands-agent-server", "openhands-sdk", "openhands-tools"):
    found = importlib.metadata.version(name)
    if found != sys.argv[1]:
        sys.exit(f"{name} is {found}, not {sys.argv[1]}")
'

write_host_command() {
  "$prefix/venv/bin/python" -c "$check_versions" "$version" >&2 || return 1
  mkdir -p "$prefix/bin"
  cat >"$command" <<EOF
#!/bin/sh
# Starts the agent-server $version.
unset PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
VIRTUAL_ENV='$prefix/venv'
PATH="\$VIRTUAL_ENV/bin:\$PATH"
LITELLM_LOCAL_MODEL_COST_MAP="\${LITELLM_LOCAL_MODEL_COST_MAP:-True}" # no download of a price table at the start
export VIRTUAL_ENV PATH LITELLM_LOCAL_MODEL_COST_MAP
exec '$prefix/venv/bin/python' -m openhands.agent_server "\$@"
EOF
  chmod 755 "$command"
  command -v tmux >/dev/null || note 'this machine has no tmux: terminals will use a plain shell; install tmux for better ones'
  command -v git >/dev/null || note 'this machine has no git: repositories cannot be cloned; install git'
}

# $1 a command; true for a Python of the right age that can make environments
suits() {
  command -v "$1" >/dev/null && "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

install_venv() {
  local candidate python='' pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
  for candidate in python3.13 /usr/local/bin/python3.13 "$pyenv"/3.13*/bin/python3 \
    python3.12 /usr/local/bin/python3.12 "$pyenv"/3.12*/bin/python3 python3; do
    if suits "$candidate"; then python=$(command -v "$candidate"); break; fi
  done
  [ -n "$python" ] || { note 'venv: this machine has no Python 3.12 or 3.13 with venv'; return 1; }
  note "venv: using $("$python" --version) ($python)"
  "$python" -m venv "$prefix/venv" >&2 || return 1
  "$prefix/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2 || return 1
  install_packages "$prefix/venv/bin/uv" "$prefix/venv/bin/python" || return 1
  write_host_command
}

install_uv() {
  local uv='' candidate settings python
  for candidate in uv "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
    if [ -z "$uv" ] && "$candidate" --version >/dev/null 2>&1; then uv=$(command -v "$candidate"); fi
  done
  if [ -z "$uv" ]; then
    if ! python3 -m venv "$prefix/uv" >/dev/null 2>&1; then
      note 'uv: this machine has none, and no Python with venv to install it with'
      return 1
    fi
    note 'uv: installing uv itself'
    "$prefix/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2 || return 1
    uv=$prefix/uv/bin/uv
  fi
  mapfile -t settings < <(uv_settings)
  note "uv: using $("$uv" --version)"
  for python in 3.13 3.12; do
    if UV_PYTHON_INSTALL_DIR=$prefix/python env "${settings[@]}" "$uv" venv --quiet --python "$python" "$prefix/venv" >&2; then
      install_packages "$uv" "$prefix/venv/bin/python" || return 1
      write_host_command
      return
    fi
  done
  note 'uv: no Python 3.12 or 3.13 could be fetched'
  return 1
}

# ---------------------------------------------------------------------------------- Debian root
# Prints the first archive of this machine's apt sources that carries Debian 13.
find_archive() {
  local archive release
  release=$(mktemp)
  while read -r archive; do
    case $archive in http://* | https://*) ;; *) continue ;; esac
    case $archive in *security*) continue ;; esac
    if /usr/lib/apt/apt-helper download-file "${archive%/}/dists/trixie/InRelease" "$release" >/dev/null 2>&1 && grep -q '^Origin: Debian$' "$release"; then
      rm -f "$release"
      printf '%s' "${archive%/}"
      return 0
    fi
  done < <(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    awk '/^[ \t]*deb[ \t]/ { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; break } }
         /^URIs:/ { for (i = 2; i <= NF; i++) print $i }' | sort -u)
  rm -f "$release"
  return 1
}

# Runs a command inside the root. The mounts are private to it.
inside() {
  ROOT=$prefix/root unshare --mount --propagation private sh -ec '
    mount --rbind /proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    for file in /etc/resolv.conf /etc/hosts; do
      [ ! -e "$file" ] || mount --bind "$file" "$ROOT$file"
    done
    exec chroot "$ROOT" "$@"
  ' inside env -u PYTHONHOME -u PYTHONPATH -u VIRTUAL_ENV -u TMPDIR -u PIP_CONFIG_FILE HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

install_chroot() {
  local root=$prefix/root archive proxy settings constrained=() file keyring=()
  [ "$(id -u)" = 0 ] || { note 'chroot: only root may do this'; return 1; }
  [ -x /usr/lib/apt/apt-helper ] || { note 'chroot: this machine is no Debian or Ubuntu'; return 1; }
  unshare --mount --propagation private true 2>/dev/null || { note 'chroot: this machine allows no mounts'; return 1; }
  if ! PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null; then
    note 'chroot: installing debootstrap'
    apt-get -qq update >&2 || return 1
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends debootstrap debian-archive-keyring >&2 || return 1
  fi
  archive=$(find_archive) || { note 'chroot: no archive in the apt sources carries Debian 13'; return 1; }
  [ ! -f /usr/share/keyrings/debian-archive-keyring.gpg ] || keyring=(--keyring=/usr/share/keyrings/debian-archive-keyring.gpg)
  proxy=$(apt-config shell proxy Acquire::http::Proxy)
  eval "$proxy" # sets $proxy as apt has it: debootstrap does not read apt's settings

  note 'chroot: making a Debian 13 root (one to three minutes)'
  http_proxy=${http_proxy:-${proxy#proxy=}} PATH=$PATH:/usr/sbin debootstrap --variant=minbase "${keyring[@]}" \
    --include=ca-certificates,git,python3,python3-venv,tmux trixie "$root" "$archive" >"$prefix/debootstrap.log" 2>&1 ||
    { tail -n 5 "$prefix/debootstrap.log" >&2; return 1; }
  rm -f "$root"/var/cache/apt/archives/*.deb
  touch "$root/etc/resolv.conf" "$root/etc/hosts" # to mount this machine's over them
  # This machine may trust certificates of its own.
  [ ! -s /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  for file in "${PIP_CONFIG_FILE:-/nonexistent}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    if [ -f "$file" ]; then cp "$file" "$root/etc/pip.conf"; break; fi
  done
  [ ! -f "$constraints" ] || { cp "$constraints" "$root/opt/constraints.txt"; constrained=(--constraints /opt/constraints.txt); }

  mapfile -t settings < <(uv_settings)
  inside python3 -m venv /opt/agent-server >&2 || return 1
  inside /opt/agent-server/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir uv >&2 || return 1
  note "installing ${packages[*]} and what they need (up to two minutes)"
  inside env "${settings[@]}" UV_NO_CACHE=1 /opt/agent-server/bin/uv pip install --quiet --compile-bytecode \
    --python /opt/agent-server/bin/python "${constrained[@]}" "${packages[@]}" >&2 || return 1
  inside /opt/agent-server/bin/python -c "$check_versions" "$version" >&2 || return 1
  write_chroot_command
}

write_chroot_command() {
  mkdir -p "$prefix/bin"
  printf "#!/bin/sh\n# Starts the agent-server %s in its Debian root.\nROOT='%s'\n" "$version" "$prefix/root" >"$command"
  cat >>"$command" <<'EOF'
set -e
if [ "${AGENT_SERVER_MOUNTS:-}" != private ]; then
  [ "$(id -u)" = 0 ] || { echo 'agent-server: this installation can only be started by root' >&2; exit 1; }
  AGENT_SERVER_MOUNTS=private exec unshare --mount --propagation private "$0" "$@"
fi
unset AGENT_SERVER_MOUNTS
here=$(pwd -P)

# Makes a directory of this machine visible under its own name; one below another is visible already.
visible=
show() {
  for shown in $visible; do
    case $1/ in "$shown"/*) return 0 ;; esac
  done
  case $1 in
    / | /bin* | /boot* | /etc* | /lib* | /sbin* | /usr* | /var | /opt)
      echo "agent-server: $1 of this machine would hide the server's own; choose another directory" >&2; exit 1 ;;
  esac
  mkdir -p "$ROOT$1"
  mount --rbind "$1" "$ROOT$1"
  visible="$visible $1"
}
for dir in /proc /dev /sys; do mount --rbind "$dir" "$ROOT$dir"; done
for file in /etc/resolv.conf /etc/hosts; do [ ! -e "$file" ] || mount --bind "$file" "$ROOT$file"; done
show /tmp
IFS=:
for dir in ${AGENT_SERVER_BIND:-}; do
  unset IFS
  [ -z "$dir" ] || show "$(cd "$dir" && pwd -P)"
done
unset IFS
show "$here"

HOME=${HOME:-/root}
mkdir -p "$ROOT$HOME"
# Certificates named by a path that does not exist in the root are in its bundle.
for name in SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO; do
  eval "file=\${$name:-}"
  if [ -n "$file" ] && [ ! -e "$ROOT$file" ]; then eval "export $name=/etc/ssl/certs/ca-certificates.crt"; fi
done
if [ -n "${TMPDIR:-}" ] && [ ! -d "$ROOT$TMPDIR" ]; then unset TMPDIR; fi
unset PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
VIRTUAL_ENV=/opt/agent-server
PATH=/opt/agent-server/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LANG=C.UTF-8
LITELLM_LOCAL_MODEL_COST_MAP="${LITELLM_LOCAL_MODEL_COST_MAP:-True}"
export HOME VIRTUAL_ENV PATH LANG LITELLM_LOCAL_MODEL_COST_MAP
exec chroot "$ROOT" /usr/bin/env -C "$here" /opt/agent-server/bin/python -m openhands.agent_server "$@"
EOF
  chmod 755 "$command"
}

# ------------------------------------------------------------------------------------------ main
if [ -n "$reinstall" ] || { [ -e "$prefix" ] && [ ! -e "$complete" ]; }; then
  [ -n "$reinstall" ] || note 'removing an installation that was not finished'
  remove "$prefix"
fi
if [ ! -e "$complete" ]; then
  for candidate in "${methods[@]}"; do
    remove "$prefix"
    mkdir -p "$prefix"
    if "install_$candidate"; then
      printf '%s\n' "$candidate" >"$complete.new"
      mv "$complete.new" "$complete"
      break
    fi
  done
fi
if [ ! -e "$complete" ]; then
  remove "$prefix"
  fail "version $version could not be installed (tried ${methods[*]}): install Python 3.12 or uv and try again, or set AGENT_SERVER_COMMAND to one that is there"
fi
printf '%s\n' "$command"
