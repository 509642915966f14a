/** Commands beside the agent, stored so that a restarted server knows them (agent-server contract 15). */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ok, refused, type LightRoute } from './http.js';

interface BashEvent {
  id: string;
  timestamp: string;
  kind: 'BashCommand' | 'BashOutput';
  [member: string]: unknown;
}

/** How long a command may take to end after SIGTERM, in milliseconds. */
const PATIENCE_MS = 1000;

/** @param directory where commands and their output are kept */
export function bashRoutes(directory: string): LightRoute[] {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'events.jsonl');
  const events: BashEvent[] = existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as BashEvent)
    : [];

  const add = (kind: BashEvent['kind'], members: Record<string, unknown>): BashEvent => {
    const id = randomUUID().replaceAll('-', '');
    const event: BashEvent = { id, timestamp: new Date().toISOString(), ...members, kind };
    appendFileSync(file, `${JSON.stringify(event)}\n`);
    events.push(event);
    return event;
  };

  return [
    {
      method: 'POST',
      pattern: /^\/api\/bash\/start_bash_command$/,
      handle({ body }) {
        const { command, cwd, timeout } = body as { command?: string; cwd?: string; timeout?: number };
        if (typeof command !== 'string') return refused(422, 'command is missing');
        const started = add('BashCommand', { command, cwd: cwd ?? null, timeout: timeout ?? 300 });
        run({ command, cwd, timeoutMs: (timeout ?? 300) * 1000 }, (output) =>
          add('BashOutput', { command_id: started.id, order: 0, ...output }),
        );
        return ok(started);
      },
    },
    {
      method: 'GET',
      pattern: /^\/api\/bash\/bash_events\/search$/,
      handle({ query }) {
        const after = Number(query.get('order__gt') ?? -1);
        const found = events.filter(
          (event) =>
            (query.get('kind__eq') ?? event.kind) === event.kind &&
            (query.get('command_id__eq') ?? event['command_id']) === event['command_id'] &&
            (event['order'] === undefined || Number(event['order']) > after),
        );
        if (query.get('sort_order') === 'TIMESTAMP_DESC') found.reverse();
        const limit = Number(query.get('limit') ?? 100);
        const start = Math.max(
          0,
          found.findIndex(({ id }) => id === query.get('page_id')),
        );
        const items = found.slice(start, start + limit);
        return ok({ items, next_page_id: found[start + limit]?.id ?? null });
      },
    },
  ];
}

interface Output {
  exit_code: number;
  stdout: string | null;
  stderr: string | null;
}

/** In a session of its own; ended with all its children when its time is over. */
function run(
  { command, cwd, timeoutMs }: { command: string; cwd: string | undefined; timeoutMs: number },
  ended: (output: Output) => void,
): void {
  const { SESSION_API_KEY: _hidden, ...env } = process.env;
  const child = spawn('/bin/sh', ['-c', command], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let timedOut = false;
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const kill = (signal: NodeJS.Signals): void => {
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, signal);
  };
  const timer = setTimeout(() => {
    timedOut = true;
    kill('SIGTERM');
    setTimeout(() => kill('SIGKILL'), PATIENCE_MS);
  }, timeoutMs);
  child.once('error', (error) => {
    clearTimeout(timer);
    ended({ exit_code: -1, stdout: null, stderr: `Error executing command: ${error.message}` });
  });
  child.once('close', (code) => {
    clearTimeout(timer);
    ended({ exit_code: timedOut ? -1 : (code ?? -1), stdout: stdout || null, stderr: stderr || null });
  });
}
