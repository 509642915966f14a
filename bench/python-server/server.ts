/**
 * The Python server as a process, as it ships but for what `serve.py` says: with SQLite, which it takes when nothing is
 * configured, and with processes as sandboxes, which need no Docker.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../tests/support/loopback.js';

const SERVE = fileURLToPath(new URL('./serve.py', import.meta.url));
/** A cold boot on a busy machine. */
const BOOT_MS = 300_000;
/** From here on it looks for ports of sandboxes; its own 8000 may be somebody's. */
const SANDBOX_PORTS = 24_000;
const END_MS = 30_000;

export interface PythonServer {
  url: string;
  pid: number;
  /** exec → first 200, in milliseconds. */
  bootMs: number;
  /** Its database and its events. */
  directory: string;
  /** A request; the answer's JSON with its status. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller says what it expects
  call<Body = unknown>(method: string, path: string, body?: unknown): Promise<{ status: number; body: Body }>;
  deleteSandboxes(): Promise<void>;
  stop(): Promise<void>;
}

export interface PythonServerOptions {
  /** The Python that it is installed for, see `install.sh`. */
  python: string;
  /** Started instead of its own agent-server: one that costs nothing. */
  lightAgentServer?: string;
  /** Model and base URL of conversations. */
  llm?: { model: string; baseUrl?: string };
  /** Kept between two servers; made, and deleted in the end, if left out. */
  directory?: string;
}

/** Resolves as soon as it answers 200. */
export async function startPythonServer(options: PythonServerOptions): Promise<PythonServer> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'callboard-python-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const began = performance.now();
  const child = launch(options, directory, port);
  const server: PythonServer = {
    url,
    pid: child.pid ?? 0,
    bootMs: Number.NaN,
    directory,
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as declared
    async call<Body>(method: string, path: string, body?: unknown) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          connection: 'close', // it closes those that nothing came over for five seconds, be it just now
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      if (response.status >= 500) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
      return { status: response.status, body: JSON.parse(text) as Body };
    },
    async deleteSandboxes() {
      const { body } = await server.call<{ items: { id: string }[] }>('GET', '/api/v1/sandboxes/search');
      // It reads the id of the query, whatever the path says.
      for (const { id } of body.items)
        await server.call('DELETE', `/api/v1/sandboxes/${id}?sandbox_id=${id}`);
      if (body.items.length > 0) await server.deleteSandboxes();
    },
    async stop() {
      await end(child);
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await answering(server, child);
    server.bootMs = performance.now() - began;
    if (options.llm) await chooseModel(server, options.llm);
  } catch (error) {
    const log = readFileSync(join(directory, 'server.log'), 'utf8').slice(-4_000);
    await server.stop();
    throw new Error(`the Python server cannot be measured: ${String(error)}\n${log}`, { cause: error });
  }
  return server;
}

function launch(
  { python, lightAgentServer }: PythonServerOptions,
  directory: string,
  port: number,
): ChildProcess {
  const home = join(directory, 'home'); // its sandboxes write to ~/.openhands and ~/.gitconfig
  mkdirSync(home, { recursive: true });
  const programs = join(directory, 'bin');
  mkdirSync(programs, { recursive: true });
  // Its agents have a browser tool that is refused, and the start with it, where no Chromium is; none is ever opened.
  writeExecutable(join(programs, 'chromium'), '#!/bin/sh\nexit 1\n');
  const log = openSync(join(directory, 'server.log'), 'a');
  return spawn(python, [SERVE, String(port)], {
    cwd: directory,
    env: {
      PATH: `${process.env['PATH'] ?? ''}:${programs}`,
      HOME: home,
      RUNTIME: 'process',
      OH_PERSISTENCE_DIR: directory,
      OH_SANDBOX_KIND: 'ProcessSandboxServiceInjector',
      OH_SANDBOX_BASE_PORT: String(SANDBOX_PORTS),
      OH_SANDBOX_BASE_WORKING_DIR: join(directory, 'sandboxes'),
      ...(lightAgentServer === undefined
        ? {}
        : { OH_SANDBOX_PYTHON_EXECUTABLE: asPython(lightAgentServer, directory) }),
    },
    stdio: ['ignore', log, log],
  });
}

/** A command that is called like a Python, and tells a light agent-server what Callboard would tell it. */
function asPython(command: string, directory: string): string {
  const path = join(directory, 'light-python');
  writeExecutable(
    path,
    `#!/bin/sh
OPENHANDS_AGENT_SERVER_CONFIG_PATH=$PWD/agent-server.json
OH_CONVERSATIONS_PATH=$PWD/conversations
OH_BASH_EVENTS_DIR=$PWD/bash-events
OH_WEBHOOKS_0_BASE_URL=
export OPENHANDS_AGENT_SERVER_CONFIG_PATH OH_CONVERSATIONS_PATH OH_BASH_EVENTS_DIR OH_WEBHOOKS_0_BASE_URL
printf '{"session_api_keys":["%s"]}\\n' "$SESSION_API_KEY" >"$OPENHANDS_AGENT_SERVER_CONFIG_PATH"
exec '${command}' "$@"
`,
  );
  return path;
}

function writeExecutable(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

async function answering(server: PythonServer, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + BOOT_MS;
  while (child.exitCode === null && child.signalCode === null) {
    if (Date.now() > deadline) throw new Error('it did not answer in time');
    try {
      if ((await server.call('GET', '/api/v1/sandboxes/search')).status === 200) return;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // nobody listens yet
    }
    await sleep(5);
  }
  throw new Error('it ended');
}

async function chooseModel(
  server: PythonServer,
  { model, baseUrl }: NonNullable<PythonServerOptions['llm']>,
): Promise<void> {
  const llm = { model, api_key: 'sk-none', ...(baseUrl === undefined ? {} : { base_url: baseUrl }) };
  const { status, body } = await server.call('POST', '/api/v1/settings', { agent_settings_diff: { llm } });
  if (status !== 200) throw new Error(`it refused its settings: ${JSON.stringify(body)}`);
}

/** Ends the server and the processes of its sandboxes, which it would leave behind. */
async function end(child: ChildProcess): Promise<void> {
  const sandboxes = childrenOf(child.pid ?? 0);
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    await ended;
    clearTimeout(timer);
  }
  for (const pid of sandboxes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error; // gone with it
    }
  }
}

/** Processes that the main thread of a process has started. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []; // it has ended
    throw error;
  }
}
