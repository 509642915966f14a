/**
 * Commands in the sandbox, beside the agent (agent-server contract 15).
 *
 * Each command is started and then polled, so that no request is longer than a moment: a lost connection or a
 * frozen sandbox costs a poll, not the result, and every poll is an occasion for a heartbeat. Each carries a
 * mark in its environment by which it, with all its children, can be found and ended, and by which a later
 * attempt finds it running or finished instead of starting it twice.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { maskText } from '../contract/masking.js';
import { commandLog, START_PATH } from './bash-log.js';
import { AgentServerError, truncate } from './errors.js';
import { fileCalls } from './files.js';
import type { BashCommandEvent, BashOutputEvent } from './schemas.js';
import { assertKey, exportLines, markedCommand, markPrefix, shellQuote, stopMarked } from './shell.js';
import type { Transport } from './transport.js';

export interface CommandRequest {
  /** Text for `/bin/sh`, which need not be bash: no `source`, no `[[`. */
  command: string;
  /** Absolute directory; the server's own if left out. */
  cwd?: string;
  /** After so many seconds the server ends the command (SIGTERM, a second later SIGKILL). */
  timeoutSeconds: number;
  /**
   * Names this piece of work. If a command with this key was started on this sandbox before, its result is
   * waited for and returned, and nothing is started: an attempt that lost its worker is continued, not
   * repeated. A command that died with the agent-server is started anew. Letters, digits and `:._/-`.
   */
  key?: string;
  signal?: AbortSignal;
  /** What happens to the command when `signal` aborts: `stop` (default), or `leave` it to a later attempt. */
  onAbort?: 'stop' | 'leave';
  /** Called at every poll, a few times a second. */
  onHeartbeat?: (elapsedMs: number) => void;
  /** Of each stream only the end is kept beyond this length; a million if left out. */
  maxOutputCharacters?: number;
}

export interface ScriptRequest extends Omit<CommandRequest, 'command'> {
  /** Text for bash. */
  script: string;
  /**
   * Secret variables for the script. They reach it by a file that only the sandbox's user can read and that
   * is removed before the script begins, because the text of a command is stored and logged by the
   * agent-server. Their values are masked in the result.
   */
  environment?: Record<string, string>;
}

export interface CommandResult {
  /** Negative: ended by that signal; -1 also when it timed out or could not be started (see `stderr`). */
  exitCode: number;
  stdout: string;
  stderr: string;
  timedOut: boolean;
  /** True when output beyond `maxOutputCharacters` was dropped from the beginning. */
  truncated: boolean;
}

const FIRST_WAIT_MS = 8;
const LONGEST_WAIT_MS = 250;
/** How long after its own time limit a command's result may still come. */
const RESULT_GRACE_MS = 20_000;
const STOP_LIMIT_MS = 10_000;
const MAX_OUTPUT_CHARACTERS = 1_000_000;
/** One argument of a process may have 128 KiB. */
const MAX_SCRIPT_BYTES = 100_000;

export function bashCalls(transport: Transport) {
  const log = commandLog(transport);
  const files = fileCalls(transport);

  /** Polls until the piece with the exit code is there. */
  async function result(command: BashCommandEvent, request: Waiting): Promise<CommandResult> {
    const began = Date.now();
    const deadline = began + command.timeout * 1000 + RESULT_GRACE_MS;
    const output = collectOutput(request.maxOutputCharacters ?? MAX_OUTPUT_CHARACTERS);
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 1.5, LONGEST_WAIT_MS)) {
      await sleep(wait, undefined, { signal: request.signal });
      for (const piece of await log.outputAfter(command.id, output.lastOrder(), request.signal)) {
        output.add(piece);
        if (piece.exit_code != null) return output.result(command, piece.exit_code, piece.timestamp);
      }
      request.onHeartbeat?.(Date.now() - began);
      if (Date.now() > deadline) {
        throw failure(
          `no result ${RESULT_GRACE_MS / 1000} s after the command's limit of ${command.timeout} s`,
        );
      }
    }
  }

  async function runCommand(request: CommandRequest): Promise<CommandResult> {
    const key = request.key ?? randomUUID();
    assertKey(key);
    request.signal?.throwIfAborted();
    const earlier = request.key === undefined ? null : await log.find(markPrefix(key), request.signal);
    if (earlier?.state === 'lost') {
      // Its children may have outlived the agent-server; two of them must not work in one directory.
      await stop(key);
    }
    const command =
      earlier?.state === 'known'
        ? earlier.command
        : await log.start({
            command: markedCommand(key, request.command),
            ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
            timeout: Math.ceil(request.timeoutSeconds),
          });
    try {
      return await result(command, request);
    } catch (error) {
      if (request.signal?.aborted !== true) throw error;
      // The caller wants the reason of its signal, also if the sandbox no longer answers.
      if (request.onAbort !== 'leave') await stop(key).catch(ignoreAgentServerError);
      throw request.signal.reason;
    }
  }

  /** Ends a command and everything it has started; it need not be running any more. */
  async function stop(key: string): Promise<void> {
    assertKey(key);
    const signal = AbortSignal.timeout(STOP_LIMIT_MS);
    try {
      const timeout = STOP_LIMIT_MS / 1000;
      await result(await log.start({ command: stopMarked(key), timeout }, signal), { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
      throw failure(`the command could not be ended within ${STOP_LIMIT_MS / 1000} s`);
    }
  }

  /** Puts secret variables where only the script finds them. */
  async function secretFile(variables: Record<string, string>, signal?: AbortSignal): Promise<string> {
    const made = await runCommand({
      command: 'umask 077 && mktemp "${HOME:-/tmp}/.callboard-XXXXXXXXXX"',
      timeoutSeconds: 10,
      signal,
    });
    const path = made.stdout.trim();
    if (made.exitCode !== 0 || path === '') {
      throw failure(`no private file could be made in the sandbox: ${truncate(made.stderr.trim())}`, 'http');
    }
    await files.uploadFile(path, exportLines(variables), { signal });
    return path;
  }

  return {
    /**
     * Runs a command for `/bin/sh` and waits for its end. A non-zero exit code is a result, not an error.
     * @throws {AgentServerError}, or the reason of `signal`
     */
    runCommand,

    /** Runs a text with bash, wherever `/bin/sh` points; otherwise like `runCommand`. */
    async runScript({ script, environment, ...request }: ScriptRequest): Promise<CommandResult> {
      if (Buffer.byteLength(script) > MAX_SCRIPT_BYTES) {
        throw new RangeError(
          `a script may have ${MAX_SCRIPT_BYTES} bytes; upload a longer one as a file and run that`,
        );
      }
      const secret = environment !== undefined && Object.keys(environment).length > 0;
      if (!secret) return runCommand({ ...request, command: `exec bash -c ${shellQuote(script)}` });

      // An attempt that is going to be continued needs no second file.
      const known =
        request.key !== undefined &&
        (await log.find(markPrefix(request.key), request.signal))?.state === 'known';
      const path = known ? '/dev/null' : await secretFile(environment, request.signal);
      const preamble = `. ${shellQuote(path)} && rm -f ${shellQuote(path)} || exit 126\n`;
      const command = `exec bash -c ${shellQuote(preamble + script)}`;
      try {
        return masked(await runCommand({ ...request, command }), Object.values(environment));
      } catch (error) {
        // The script removes its file itself; after a failure nobody knows whether it came that far.
        if (!known) await discard(path).catch(ignoreAgentServerError);
        throw error;
      }
    },

    stopCommand: stop,
  };

  const discard = (path: string) => log.start({ command: `rm -f ${shellQuote(path)}`, timeout: 10 });
}

/** What waiting for a result needs of a request. */
type Waiting = Pick<CommandRequest, 'signal' | 'onHeartbeat' | 'maxOutputCharacters'>;

/** Puts the pieces of both streams together, keeping the end of what is too long. */
function collectOutput(limit: number) {
  let stdout = '';
  let stderr = '';
  let truncated = false;
  let lastOrder = -1;
  const append = (text: string, more: string): string => {
    if (text.length + more.length > limit) truncated = true;
    return (text + more).slice(-limit);
  };
  return {
    lastOrder: () => lastOrder,
    add(piece: BashOutputEvent): void {
      lastOrder = piece.order;
      stdout = append(stdout, piece.stdout ?? '');
      stderr = append(stderr, piece.stderr ?? '');
    },
    result(command: BashCommandEvent, exitCode: number, ended: string): CommandResult {
      const tookMs = Date.parse(ended) - Date.parse(command.timestamp);
      const timedOut = exitCode === -1 && tookMs >= command.timeout * 1000;
      return { exitCode, stdout, stderr, timedOut, truncated };
    },
  };
}

const failure = (detail: string, kind: AgentServerError['kind'] = 'timeout'): AgentServerError =>
  new AgentServerError({ kind, status: null, call: `POST ${START_PATH}`, detail });

/** For clean-up after a failure that the caller hears of anyway: a silent sandbox must not hide it. */
function ignoreAgentServerError(error: unknown): void {
  if (!(error instanceof AgentServerError)) throw error;
}

const masked = (result: CommandResult, values: readonly string[]): CommandResult => ({
  ...result,
  stdout: maskText(result.stdout, values),
  stderr: maskText(result.stderr, values),
});
