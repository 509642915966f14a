/** The bash text that brings a repository into a sandbox: one script, whatever it finds there. */
import { shellQuote } from '../../agent-server/shell.js';

export interface CloneOrder {
  /** Without credentials. */
  url: string;
  /** Scheme, host and port of `url`. */
  origin: string;
  /** Whether the script's environment holds {@link GIT_USERNAME} and {@link GIT_PASSWORD}. */
  authenticated: boolean;
  /** Absolute directory the clone ends up in. */
  destination: string;
  /** Absolute path beside it, of this start alone: an unfinished clone never stands in the destination. */
  workplace: string;
  /** Checked with `isBranchName` by the caller; null clones the default branch. */
  branch: string | null;
  /** Created from the default branch where no branch is asked for. */
  freshBranch: string;
  shallow: boolean;
  /** Whether a clone that is there already may be switched to `branch`; not while another conversation works in it. */
  maySwitchBranch: boolean;
  identity: GitIdentity;
}

/** Who commits in the sandbox. */
export interface GitIdentity {
  name: string | null;
  email: string | null;
}

/** Variables that reach the script by the client's private file, never by its text. */
export const GIT_USERNAME = 'CALLBOARD_GIT_USERNAME';
export const GIT_PASSWORD = 'CALLBOARD_GIT_PASSWORD';

/** Where git's own progress lines stand while it works. */
export const cloneProgressFile = (workplace: string): string => `${workplace}.progress`;

/** What the scripts print for us, one `callboard:name=value` per line. */
export type ReportName = 'failed' | 'clone' | 'setup' | 'hook';

/** Reads the report out of a script's output. */
export function readReport(stdout: string): Partial<Record<ReportName, string>> {
  const report: Partial<Record<ReportName, string>> = {};
  for (const [, name, value] of stdout.matchAll(/^callboard:(failed|clone|setup|hook)=(.*)$/gm)) {
    report[name as ReportName] = value;
  }
  return report;
}

const assign = (variables: Record<string, string>): string =>
  Object.entries(variables)
    .map(([name, value]) => `${name}=${shellQuote(value)}\n`)
    .join('');

/** Sets the committer; two starts in one sandbox may want the configuration's lock at the same time. */
const IDENTITY = `
configure() {
  [ -n "$2" ] || return 0
  for turn in 1 2 3 4 5; do git config --global "$1" "$2" && return 0; sleep 0.2; done
  echo "git config $1 did not work" >&2
}
`;

/** Tells which of the project's own files a later phase has to run. */
const REPORT_PROJECT_FILES = `
report_files() {
  [ -f "$1/.openhands/setup.sh" ] && echo callboard:setup=yes
  [ -f "$1/.openhands/pre-commit.sh" ] && echo callboard:hook=yes
  return 0
}
`;

/** Clones, or finds the clone of an earlier attempt or of the conversation whose sandbox this is. */
export const cloneScript = (order: CloneOrder): string =>
  assign({
    url: order.url,
    origin: order.origin,
    authenticated: order.authenticated ? 'yes' : '',
    destination: order.destination,
    workplace: order.workplace,
    progress: cloneProgressFile(order.workplace),
    branch: order.branch ?? '',
    fresh_branch: order.freshBranch,
    shallow: order.shallow ? 'yes' : '',
    may_switch: order.maySwitchBranch ? 'yes' : '',
    user_name: order.identity.name ?? '',
    user_email: order.identity.email ?? '',
  }) +
  IDENTITY +
  REPORT_PROJECT_FILES +
  CLONE;

const CLONE = String.raw`
set -u
export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ASKPASS= SSH_ASKPASS= GIT_ALLOW_PROTOCOL=http:https
give_up() { echo "callboard:failed=$1"; exit "$2"; }
trap 'rm -rf -- "$workplace" "$progress"' EXIT
trap 'exit 143' TERM INT HUP

command -v git >/dev/null || give_up no-git 127
configure user.name "$user_name"
configure user.email "$user_email"

# Answers from the environment, for one origin only: the token is in no file of the clone, in no command line and in no
# address. Helpers that are configured in the sandbox are not told of it.
helper='!f() { [ "$1" = get ] && printf "username=%s\npassword=%s\n" "$CALLBOARD_GIT_USERNAME" "$CALLBOARD_GIT_PASSWORD"; }; f'
remote_git() {
  if [ -n "$authenticated" ]; then
    git -c credential.helper= -c "credential.$origin.helper=$helper" "$@"
  else
    git "$@"
  fi
}

# Host and path alone: without scheme, credentials and .git, for comparing.
plain() {
  printf '%s' "$1" | tr '[:upper:]' '[:lower:]' |
    sed -E 's#^[a-z+]+://##; s#^[^/@]*@##; s#^([^/:]+):([^0-9])#\1/\2#; s#/+$##; s#[.]git$##'
}

# What git says when the network, not the request, was the reason.
passing() {
  grep -Eqi 'could not resolve host|connection (reset|refused|timed out)|operation timed out|failed to connect|early EOF|unexpected disconnect|hung up unexpectedly|returned error: (408|429|5[0-9][0-9])|TLS connection|SSL_ERROR_SYSCALL' "$progress"
}

quote_progress() { tr '\r' '\n' <"$progress" | grep -Ev '^(remote: )?[A-Z][a-z]+ [a-z]+: ' | tail -n 15 >&2; }

clone() {
  set -- clone --progress
  [ -n "$shallow" ] && set -- "$@" --depth 1
  [ -n "$branch" ] && set -- "$@" --branch "$branch"
  rm -rf -- "$workplace"
  remote_git "$@" -- "$url" "$workplace" 2>"$progress"
}

switch_branch() {
  set --
  [ -f "$(git rev-parse --absolute-git-dir)/shallow" ] && set -- --depth 1
  remote_git fetch --progress "$@" origin "+refs/heads/$branch:refs/remotes/origin/$branch" 2>"$progress" ||
    { quote_progress; give_up clone 1; }
  if git show-ref --verify --quiet "refs/heads/$branch"; then
    git checkout -q "$branch" -- || give_up checkout 1
  else
    git checkout -q -b "$branch" "refs/remotes/origin/$branch" || give_up checkout 1
  fi
}

parent="$(dirname -- "$destination")"
mkdir -p -- "$parent" && cd -- "$parent" || give_up directory 1
# A directory that is not a repository must not pass for one because something above it is.
export GIT_CEILING_DIRECTORIES="$parent"

if [ -n "$(ls -A -- "$destination" 2>/dev/null)" ]; then
  there="$(git -C "$destination" config --get remote.origin.url 2>/dev/null)"
  [ -n "$there" ] && [ "$(plain "$there")" = "$(plain "$url")" ] || give_up occupied 1
  cd -- "$destination" || give_up occupied 1
  current="$(git symbolic-ref --quiet --short HEAD)"
  if [ -n "$branch" ] && [ "$branch" != "$current" ] && [ -n "$may_switch" ]; then switch_branch; fi
  echo callboard:clone=found
  report_files "$destination"
  exit 0
fi

for turn in 1 2 3; do
  clone; code=$?
  [ "$code" -eq 0 ] && break
  if [ -n "$shallow" ] && grep -q 'does not support shallow' "$progress"; then shallow=; continue; fi
  if [ "$turn" -lt 3 ] && passing; then sleep "$turn"; continue; fi
  quote_progress
  give_up clone "$code"
done
if [ -z "$branch" ]; then
  git -C "$workplace" checkout -q -b "$fresh_branch" || give_up checkout 1
fi
rmdir -- "$destination" 2>/dev/null
[ ! -e "$destination" ] && mv -- "$workplace" "$destination" || give_up occupied 1
echo callboard:clone=made
report_files "$destination"
`;

/** Makes a directory a project without a repository: what is there already is honoured. */
export const emptyProjectScript = (order: { directory: string; identity: GitIdentity }): string =>
  assign({
    directory: order.directory,
    user_name: order.identity.name ?? '',
    user_email: order.identity.email ?? '',
  }) +
  IDENTITY +
  REPORT_PROJECT_FILES +
  EMPTY_PROJECT;

const EMPTY_PROJECT = String.raw`
mkdir -p -- "$directory" && cd -- "$directory" || { echo callboard:failed=directory; exit 1; }
if command -v git >/dev/null; then
  configure user.name "$user_name"
  configure user.email "$user_email"
  [ -e .git ] || git init -q >&2
  git config --global --get-all safe.directory | grep -Fxq -- "$directory" ||
    git config --global --add safe.directory "$directory"
fi
report_files "$directory"
`;
