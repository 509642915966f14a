/**
 * Starting an agent-server as a process that outlives us, and never a second one for the same sandbox.
 *
 * A shell takes a lock on a file, notes its own identity beside it and then becomes the agent-server. The lock
 * belongs to an open file that the server inherits, so the system keeps it exactly as long as the server lives,
 * whatever happens to us. The note is there before the server is, so at no instant is there a server that
 * a later attempt could not find.
 *
 * What is forked instead (`fork-server.ts`) does the same by itself, in `agent-server-startup/callboard_fork_server.py`.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { access, constants as fsConstants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { LAUNCH_LINE, SandboxRefusal } from './backend.js';
import type { SandboxHandle } from './backend.js';
import { CONFIGURATION_FD } from './process-environment.js';
import { errorCode } from './process-identity.js';
import { SANDBOX_MARK } from './process-tree.js';
import type { SandboxPaths } from './sandbox-paths.js';

/** Exit code of the shell when another one holds the lock (`EX_TEMPFAIL`). */
export const LOCK_HELD = 75;
/** Exit code of the shell when the system has no `flock` (`EX_UNAVAILABLE`). */
export const NO_FLOCK = 69;

/** The shell asks for it itself, in a subshell, where this is empty. */
const OWN_MASK = ownMask();

/** A longer log is put aside at the next launch. */
export const LOG_LIMIT_KILOBYTES = 20 * 1024;

/**
 * Arguments: the sandbox's directory, the rest of its record as JSON text, the time, the umask, the command. Descriptor 9
 * holds the lock, descriptor 8 the configuration, which is opened once more, to be read only and from its beginning;
 * Python closes both in the commands that it starts. A new sandbox costs the shell two programs (flock, mv); each
 * further one, and each subshell, is up to a millisecond of every start.
 */
const SCRIPT = `
dir=$1 rest=$2 now=$3 mask=\${4:-$(umask)}
shift 4
command -v flock >/dev/null || exit ${NO_FLOCK}
exec 9>>"$dir/lock" || exit 1
flock -n 9 || exit ${LOCK_HELD}
if [ -s "$dir/agent-server.log" ] && [ -n "$(find "$dir/agent-server.log" -size +${LOG_LIMIT_KILOBYTES}k 2>/dev/null)" ]; then
  mv -f "$dir/agent-server.log" "$dir/agent-server.log.1"
fi
umask 077
exec >>"$dir/agent-server.log" 2>&1 || exit 1
umask "$mask"
echo "${LAUNCH_LINE} at $now, pid $$"
# What an earlier server of this sandbox has left running.
if [ -e "$dir/sandbox.json" ]; then
  for file in $(grep -lszxF -e "${SANDBOX_MARK}=$${SANDBOX_MARK}" /proc/[0-9]*/environ); do
    pid=\${file#/proc/}
    pid=\${pid%/environ}
    [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null
  done
fi
exec ${CONFIGURATION_FD}</proc/self/fd/${CONFIGURATION_FD} || exit 1
for left in "$dir/.configuration" "$dir"/.launch-*.json; do
  [ ! -e "$left" ] || rm -f "$left"
done
read -r stat </proc/$$/stat
start_time() { shift 19; start=$1; }
start_time \${stat##*) }
printf '{"backend":"process","pid":%s,"startTime":"%s",%s' $$ "$start" "$rest" >"$dir/.sandbox.json" || exit 1
mv -f "$dir/.sandbox.json" "$dir/sandbox.json"
exec "$@"
`;

/** Everything of a record but pid and start time, which only the shell knows. */
export type RecordRest = Omit<SandboxHandle, 'backend' | 'pid' | 'startTime'>;

/** Starts the shell, detached: it has its own session, and of our descriptors only that of the configuration. */
export function startShell(start: {
  argv: readonly string[];
  paths: SandboxPaths;
  environment: Record<string, string>;
  configuration: string;
  rest: RecordRest;
}): ChildProcess {
  const { paths } = start;
  const rest = JSON.stringify(start.rest).slice(1);
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const words = [paths.directory, rest, now, OWN_MASK, ...start.argv];
  const configuration = openUnnamed(paths.directory, start.configuration);
  try {
    const stdio: StdioOptions = [...Array<'ignore'>(CONFIGURATION_FD).fill('ignore'), configuration];
    const child = spawn('/bin/sh', ['-c', SCRIPT, 'callboard-launch', ...words], {
      cwd: paths.directory,
      env: start.environment,
      detached: true,
      stdio,
    });
    child.unref();
    return child;
  } finally {
    closeSync(configuration);
  }
}

/**
 * A file with that text, for our user only, which is in no directory by the time there is something in it. All at once:
 * our thread waits for the disk in `spawn` anyway, and waiting in others would cost more than it is.
 * @returns its descriptor
 */
function openUnnamed(directory: string, text: string): number {
  // The next launch removes what has such a name, should we end before we do.
  const path = join(directory, `.launch-${randomUUID()}.json`);
  try {
    const file = openSync(path, 'wx+', 0o600);
    try {
      rmSync(path, { force: true }); // another launch may have done so
      writeFileSync(file, text);
      return file;
    } catch (error) {
      closeSync(file);
      throw error;
    }
  } catch (error) {
    throw new Error(
      `the agent-server could not be started (${errorCode(error)}): is there space, and the right to write, in ${directory}?`,
      { cause: error },
    );
  }
}

/** Our umask in octal digits; empty where the system does not tell it. `process.umask()` would change it for a moment. */
function ownMask(): string {
  try {
    return /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  } catch {
    return ''; // not Linux, where there are no process sandboxes
  }
}

/**
 * The words of a configured command: one program, which may have spaces in its path, or a program with arguments.
 * @throws {SandboxRefusal} when there is no such program
 */
export async function resolveCommand(command: string): Promise<string[]> {
  const whole = await findProgram(command);
  if (whole !== null) return [whole];
  const [name = '', ...rest] = command.trim().split(/\s+/);
  const program = await findProgram(name);
  if (program !== null) return [program, ...rest];
  throw new SandboxRefusal(
    'AgentServerCommandMissing',
    `The agent-server command ${JSON.stringify(command)} is not an executable file: run "./callboard setup", or set AGENT_SERVER_COMMAND to one that starts an agent-server.`,
  );
}

async function findProgram(name: string): Promise<string | null> {
  if (name === '') return null;
  const places = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, name));
  for (const place of places) if (await isExecutable(place)) return place;
  return null;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, fsConstants.X_OK);
    return (await stat(path)).isFile();
  } catch (error) {
    if (errorCode(error) === '') throw error;
    return false; // missing, a directory in the way, not ours to run
  }
}
