/** One start, watched through its stream. */
import { startTasksOf } from '../cli/client/start-stream.js';
import { START_STATUSES, type StartStatus } from '../contract/start-task.js';
import type { Product } from '../tests/support/product.js';
import { duration } from './measure.js';
import { median } from './statistics.js';

export interface TimedStart {
  /** POST → READY, in milliseconds. */
  took: number;
  sandboxId: string;
  /** Milliseconds in each status but the last. */
  phases: Map<StartStatus, number>;
}

const HELLO = {
  initial_message: { role: 'user', content: [{ type: 'text', text: 'Hello' }], run: true },
};

/** @throws {Error} when it does not become READY */
export async function startOnce({ url }: Pick<Product, 'url'>, request: object = HELLO): Promise<TimedStart> {
  const began = performance.now();
  const response = await fetch(`${url}/api/v1/app-conversations/stream-start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  if (!response.ok || !response.body) throw new Error(`stream-start answered ${response.status}`);
  const phases = new Map<StartStatus, number>();
  let entered = began;
  // What passes before the first status is the request itself.
  let current: StartStatus = 'WORKING';
  let sandboxId = '';
  for await (const task of startTasksOf(response.body)) {
    const now = performance.now();
    phases.set(current, (phases.get(current) ?? 0) + now - entered);
    entered = now;
    current = task.status;
    sandboxId = task.sandbox_id ?? '';
    if (task.status === 'ERROR') throw new Error(task.detail ?? 'the start failed');
  }
  return { took: entered - began, sandboxId, phases };
}

/** The medians of what the statuses took, for people. */
export const phasesOf = (starts: readonly Pick<TimedStart, 'phases'>[]): string =>
  START_STATUSES.filter((status) => status !== 'READY' && status !== 'ERROR')
    .map((status) => `${status} ${duration(median(starts.map(({ phases }) => phases.get(status) ?? 0)))}`)
    .join(', ');
