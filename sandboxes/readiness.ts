/** Waiting until an agent-server that has been launched answers, or until it is clear that it will not. */
import { Agent, request as sendRequest } from 'node:http';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { maskText } from '../contract/masking.js';
import { LAUNCH_LINE } from './backend.js';
import type { SandboxBackend, SandboxHandle } from './backend.js';
import { isPortFree } from './ports.js';

/**
 * - `SandboxExited`: its process ended before it answered;
 * - `SandboxStartTimeout`: it lives, but did not answer in time;
 * - `SandboxPortTaken`: another program has its port.
 */
export type SandboxNotReadyType = 'SandboxExited' | 'SandboxStartTimeout' | 'SandboxPortTaken';

/** A start that failed; the message says what was probed, what came back, what the log says and what to do. */
export class SandboxNotReady extends Error {
  constructor(
    readonly type: SandboxNotReadyType,
    message: string,
    /** Of a process that ended, where it became known. */
    readonly exitCode: number | null,
    /** Last lines of its log, secrets masked. */
    readonly logTail: readonly string[],
  ) {
    super(message);
    this.name = 'SandboxNotReady';
  }
}

export interface ReadinessRequest {
  backend: Pick<SandboxBackend, 'inspect' | 'logSize' | 'logTail' | 'processorTime'>;
  sandboxId: string;
  handle: SandboxHandle;
  /**
   * How long the start may show no progress, in milliseconds. A longer log and used processor time are progress:
   * on a busy machine a boot may take several times as long as usual without saying a word.
   */
  startupTimeoutMs: number;
  /** Limit for a start that does show progress; four times `startupTimeoutMs` if left out. */
  hardLimitMs?: number;
  /** Gives up when aborted; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** 25 ms if left out. */
  probeIntervalMs?: number;
  /** Called after every probe with their number. */
  onProgress?: (probes: number) => void;
  /** Values that must not appear in the failure. */
  secrets?: readonly string[];
  /** If given, an answer counts only if it knows this key: another server on the port does not. */
  sessionApiKey?: string;
}

/** A frozen process accepts connections and never answers. */
const PROBE_LIMIT_MS = 2_000;
/** The process and its log are looked at in this interval. */
const LOOK_INTERVAL_MS = 100;
const LOG_LINES = 15;
/** A server that found its port taken may have more to say before it ends. */
const SEARCHED_LINES = 200;
/** So much processor time is work; a process that merely waits uses a few milliseconds per second. */
const WORK_MS = 100;

/**
 * Polls `GET /alive` until it answers 200.
 * @throws {SandboxNotReady} as soon as the process has ended, or when time is over
 */
export async function awaitReady(request: ReadinessRequest): Promise<void> {
  const { backend, sandboxId, handle, signal } = request;
  const hardLimitMs = request.hardLimitMs ?? 4 * request.startupTimeoutMs;
  const began = Date.now();
  let lastProgress = began;
  let lastLook = 0;
  let work = { logSize: 0, processorTime: 0 };

  for (let probes = 1; ; probes++) {
    signal?.throwIfAborted();
    const answer = await probe(request);
    request.onProgress?.(probes);
    const ready = answer === READY;
    const now = Date.now();
    if (ready || now - lastLook >= LOOK_INTERVAL_MS) {
      lastLook = now;
      const condition = await backend.inspect(sandboxId, handle);
      // Looked at after the probe: an answer does not count if it came from somebody else's server.
      if (condition.state === 'gone') throw await exited(request, condition.exitCode, probes, answer);
      if (ready) return;
      const logSize = await backend.logSize(sandboxId);
      const processorTime = (await backend.processorTime?.(sandboxId, handle)) ?? 0;
      if (logSize !== work.logSize || processorTime - work.processorTime >= WORK_MS) {
        work = { logSize, processorTime };
        lastProgress = now;
      }
    }
    if (answer === FOREIGN) throw await portTaken(request);
    if (now - lastProgress > request.startupTimeoutMs || now - began > hardLimitMs) {
      throw await timedOut(request, now - began, probes, answer);
    }
    await pause(request.probeIntervalMs ?? 25, signal);
  }
}

const READY = 'ready';
const FOREIGN = 'an answer of a server that does not know the session key';

/** What the server answered, in words; `READY` if it is up. */
async function probe({ handle, sessionApiKey, signal }: ReadinessRequest): Promise<string> {
  const limit = AbortSignal.timeout(PROBE_LIMIT_MS);
  const either = signal ? AbortSignal.any([signal, limit]) : limit;
  const agent = new Agent({ keepAlive: true }); // both questions on one connection, which nobody uses after them
  const get = (path: string, headers: Record<string, string>): Promise<number> =>
    new Promise((resolve, reject) => {
      const request = sendRequest(`${handle.url}${path}`, { agent, headers, signal: either });
      request.on('error', reject);
      request.on('response', (response) => {
        response.on('error', reject);
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.resume();
      });
      request.end();
    });
  try {
    // Until the server listens, which is nearly the whole boot, asking the kernel costs a fraction of a request.
    await connect(new URL(handle.url));
    const alive = await get('/alive', {});
    if (alive !== 200) return `HTTP ${alive}`;
    if (sessionApiKey === undefined) return READY;
    const known = await get('/api/conversations/count', { 'X-Session-API-Key': sessionApiKey });
    if (known === 200) return READY;
    return known === 401 || known === 403 ? FOREIGN : `HTTP ${known} from /api`;
  } catch (error) {
    signal?.throwIfAborted();
    return limit.aborted ? `no answer within ${PROBE_LIMIT_MS / 1000} s` : connectionFailure(error);
  } finally {
    agent.destroy();
  }
}

/** As sockets take it: an IPv6 address without its brackets. */
const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');

/** Rejects at once where nothing listens. */
function connect(url: URL): Promise<void> {
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: hostOf(url), port });
    socket.setTimeout(PROBE_LIMIT_MS, () => socket.destroy(new Error('no connection')));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}

function connectionFailure(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (code === 'ECONNREFUSED') return 'connection refused';
    if (typeof code === 'string') return `connection failed (${code})`;
  }
  return 'connection failed';
}

async function exited(
  request: ReadinessRequest,
  exitCode: number | null,
  probes: number,
  answer: string,
): Promise<SandboxNotReady> {
  if (await hasLostItsPort(request)) return portTaken(request);
  const log = await logOf(request);
  const code = exitCode === null ? 'its exit code is not known' : `exit code ${exitCode}`;
  const hint =
    exitCode === 126 || exitCode === 127
      ? 'Check that AGENT_SERVER_COMMAND starts an agent-server on this machine.'
      : exitCode === 137
        ? 'It was killed, often because memory ran out: free some, or run fewer sandboxes.'
        : 'Read the log for the reason, then start again.';
  return new SandboxNotReady(
    'SandboxExited',
    `The agent-server ended before it was ready (${code}). ${probed(request, probes, answer)} ${quoted(log)} ${hint}`,
    exitCode,
    log,
  );
}

/** Whether it ended because another program has its port, or had it then: an outgoing connection may be gone by now. */
async function hasLostItsPort(request: ReadinessRequest): Promise<boolean> {
  const said = await logOf(request, SEARCHED_LINES);
  if (said.some((line) => /address already in use/i.test(line))) return true;
  const { url, port } = request.handle;
  try {
    return !(await isPortFree(hostOf(new URL(url)), port));
  } catch {
    return false; // no address of this machine: nobody here can have taken it
  }
}

async function timedOut(
  request: ReadinessRequest,
  waitedMs: number,
  probes: number,
  answer: string,
): Promise<SandboxNotReady> {
  const log = await logOf(request);
  const waited = `${Math.round(waitedMs / 100) / 10} s`;
  return new SandboxNotReady(
    'SandboxStartTimeout',
    `The agent-server was not ready within ${waited}. ${probed(request, probes, answer)} ${quoted(log)} If the machine is merely slow, raise SANDBOX_STARTUP_TIMEOUT_SECONDS.`,
    null,
    log,
  );
}

async function portTaken(request: ReadinessRequest): Promise<SandboxNotReady> {
  return new SandboxNotReady(
    'SandboxPortTaken',
    `The port of ${request.handle.url} is in use by another program: the sandbox needs another port, or that program has to end.`,
    null,
    await logOf(request),
  );
}

const probed = ({ handle }: ReadinessRequest, probes: number, answer: string): string =>
  `GET ${handle.url}/alive was tried ${probes} times, last answer: ${answer}.`;

const quoted = (log: readonly string[]): string =>
  log.length === 0 ? 'Its log is empty.' : `Last lines of its log:\n${log.join('\n')}\n`;

async function logOf(
  { backend, sandboxId, secrets }: ReadinessRequest,
  limit = LOG_LINES,
): Promise<string[]> {
  const lines = await backend.logTail(sandboxId, limit);
  // What an earlier server of this sandbox has said is no explanation.
  const start = lines.findLastIndex((line) => line.startsWith(LAUNCH_LINE));
  return lines.slice(start + 1).map((line) => maskText(line, secrets ?? []));
}

/** Waits; rejects with the signal's own reason. */
async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}
