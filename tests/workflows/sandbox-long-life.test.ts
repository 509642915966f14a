import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isTemporalOutage } from '../../api/outages.js';
import type { SandboxOrder, SandboxStatus } from '../../contract/sandbox.js';
import { observedSignal, sandboxUpdate } from '../../workflows/messages.js';
import { SandboxBench, type SandboxActor } from '../support/sandbox-bench.js';

/** Temporal ends a run at 51,200 events, and suggests to go on anew at 4,096. */
const LONGEST_RUN = 8_192;
const SIGNALS = 10_000;
/** Signals sent together; between two batches the actor catches up, as it does with what happens to a sandbox. */
const BATCH = 250;
/** Looks at idleness in a month, one every half hour. */
const LOOKS_OF_A_MONTH = 1_440;
/** Looks that are measured: a timer takes a second at least. */
const LOOKS = 8;

let bench: SandboxBench;
beforeAll(async () => {
  bench = await SandboxBench.open();
});
afterAll(() => bench.close());

/** Length of one run in events, and which run came after it. */
async function runOf(actor: SandboxActor, runId: string): Promise<{ length: number; next: string | null }> {
  const run = bench.environment.client.workflow.getHandle(actor.workflowId, runId);
  const events = (await run.fetchHistory()).events ?? [];
  const end = events.at(-1)?.workflowExecutionContinuedAsNewEventAttributes;
  return { length: events.length, next: end?.newExecutionRunId ?? null };
}

/** Lengths of an actor's runs, first to last. */
async function runsOf(actor: SandboxActor): Promise<number[]> {
  const lengths: number[] = [];
  let runId: string | null = actor.firstExecutionRunId;
  while (runId !== null) {
    const { length, next }: { length: number; next: string | null } = await runOf(actor, runId);
    lengths.push(length);
    runId = next;
  }
  return lengths;
}

/** Gives an order until it is taken: while Temporal tries a task of the actor again, updates are refused. */
async function obeyed(actor: SandboxActor, order: SandboxOrder): Promise<SandboxStatus> {
  for (;;) {
    try {
      return await actor.executeUpdate(sandboxUpdate(order));
    } catch (error) {
      if (!isTemporalOutage(error)) throw error;
      await setTimeout(200);
    }
  }
}

describe('a sandbox that lives for long', () => {
  it('takes ten thousand signals in runs of bounded length, and loses none of its orders', async () => {
    const actor = await bench.startIn('RUNNING');
    for (let sent = 0; sent < SIGNALS; sent += BATCH) {
      await Promise.all(
        Array.from({ length: BATCH }, () => actor.signal(observedSignal, { state: 'answering' })),
      );
      // Each has to be carried out, in whichever run it arrives.
      expect(await obeyed(actor, 'pause')).toBe('PAUSED');
      expect(await obeyed(actor, 'resume')).toBe('RUNNING');
    }
    await obeyed(actor, 'delete');
    const actions = bench.actionsOf(actor.sandboxId);
    const rounds = SIGNALS / BATCH;
    expect(actions).toEqual([
      ...Array.from({ length: rounds }, () => ['suspend', 'awaken']).flat(),
      'destroy',
    ]);
    const runs = await runsOf(actor);
    expect(runs.length).toBeGreaterThan(1);
    expect(Math.max(...runs)).toBeLessThan(LONGEST_RUN);
    expect(bench.host.things.has(actor.sandboxId)).toBe(false);
  }, 1_200_000);

  it('idles for a month within one run', async () => {
    bench.host.idleness = [
      ...Array.from({ length: LOOKS }, () => ({ state: 'wait' as const, waitMs: 1 })),
      { state: 'wait', waitMs: 3_600_000 },
    ];
    const actor = await bench.startIn('RUNNING');
    const looks = () => bench.host.calls.filter((call) => call === `judgeIdleness ${actor.sandboxId}`);
    await vi.waitFor(() => expect(looks()).toHaveLength(LOOKS + 1), 60_000);
    const { historyLength } = await actor.describe();
    expect((historyLength / LOOKS) * LOOKS_OF_A_MONTH).toBeLessThan(51_200 / 2);
    await obeyed(actor, 'delete');
  });
});
