/** Brings an installation to rest after the last fault. */
import { Client, Connection } from '@temporalio/client';
import { existsSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAINTENANCE_SCHEDULE } from '../../cli/maintenance-schedule.js';
import type { Books } from './books.js';
import type { ChaosClient } from './client.js';
import type { Cluster } from './cluster.js';
import { check } from './checks.js';
import { takeSnapshot, type Snapshot } from './snapshot.js';
import type { Violation } from './violation.js';

const LOOK_MS = 5_000;
const HEAL_MS = 120_000;

export interface Outcome {
  snapshot: Snapshot;
  violations: Violation[];
  /** How long it took to come to rest, in milliseconds. */
  tookMs: number;
}

/**
 * Heals everything, resumes what can be resumed, and looks until nothing is wrong any more, or time is over: then what
 * is wrong stays so. Nobody does anything meanwhile but the product's own maintenance and `callboard doctor --repair`.
 */
export async function comeToRest(
  cluster: Cluster,
  client: ChaosClient,
  books: Books,
  patienceMs: number,
  note: (line: string) => void,
): Promise<Outcome> {
  const began = Date.now();
  await cluster.heal(HEAL_MS);
  await untilEnded(cluster, began + patienceMs / 2, note);
  await resumeAll(cluster, client);
  ageUnfinishedFiles(cluster);
  await doctor(cluster, note);
  for (let look = 1; ; look++) {
    const snapshot = await takeSnapshot(cluster);
    const violations = check(snapshot, books);
    const tookMs = Date.now() - began;
    if (!violations.some(mayPass) || tookMs > patienceMs) return { snapshot, violations, tookMs };
    await sweep(cluster, note);
    if (look % 5 === 0) await doctor(cluster, note);
    note(
      `${violations.length} things are not right yet, the first: ${violations[0]?.is}: ${violations[0]?.what}`,
    );
    await sleep(LOOK_MS);
  }
}

/** Has the product's own maintenance do a round at once; one that is under way is enough. */
async function sweep(cluster: Cluster, note: (line: string) => void): Promise<void> {
  const connection = await Connection.connect({ address: cluster.temporalAddress });
  try {
    await new Client({ connection }).schedule.getHandle(MAINTENANCE_SCHEDULE).trigger();
  } catch (error) {
    note(`maintenance could not be started: ${String(error)}`);
  } finally {
    await connection.close();
  }
}

/** Nobody writes these any more: they need not be waited for until they are old enough to be taken for leftovers. */
function ageUnfinishedFiles({ directory }: Cluster): void {
  const events = join(directory, 'v1', 'events');
  const longAgo = new Date(Date.now() - 3_600_000);
  for (const name of existsSync(events) ? readdirSync(events, { recursive: true, encoding: 'utf8' }) : [])
    if (name.endsWith('.tmp')) utimesSync(join(events, name), longAgo, longAgo);
}

/** Has an operator look: `callboard doctor --repair` puts away what a crash has left half written. */
async function doctor(cluster: Cluster, note: (line: string) => void): Promise<void> {
  const { code, output } = await cluster.run(['doctor', '--repair']);
  const said = output.split('\n').filter((line) => /^✗|repaired/.test(line));
  const summary = said.length > 0 || code === 0 ? said.join('; ') : output.slice(-2_000);
  note(`doctor ended with ${code ?? 'a signal'}: ${summary || 'nothing to do'}`);
}

/** What was answered wrongly stays so; everything else may still be mended by what is under way. */
const mayPass = ({ is, what }: Violation): boolean =>
  is !== 'wrong answer' && is !== 'doubled' && !/no answer within/.test(what);

/** Waits until no start and no sandbox is under way. */
async function untilEnded(cluster: Cluster, deadline: number, note: (line: string) => void): Promise<void> {
  while (Date.now() < deadline) {
    const { tasks, sandboxes } = await takeSnapshot(cluster);
    const open = tasks.filter(({ status }) => status !== 'READY' && status !== 'ERROR').length;
    const starting = sandboxes.filter(({ status, deleted }) => !deleted && status === 'STARTING').length;
    if (open + starting === 0) return;
    note(`${open} starts and ${starting} sandboxes are under way`);
    await sleep(LOOK_MS);
  }
}

/** What was paused or has lost its process comes back, so that its log can be held against the store. */
async function resumeAll(cluster: Cluster, client: ChaosClient): Promise<void> {
  const { sandboxes } = await takeSnapshot(cluster);
  for (const { id, status, deleted, warm } of sandboxes) {
    if (deleted || warm || status === 'RUNNING') continue;
    await client.send('resume at the end', 'POST', `/api/v1/sandboxes/${id}/resume`);
  }
}
