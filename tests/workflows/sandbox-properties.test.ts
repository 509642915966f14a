import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SANDBOX_ORDERS } from '../../contract/sandbox.js';
import {
  ensureRunningUpdate,
  observedSignal,
  sandboxSignal,
  sandboxUpdate,
  type SandboxObservation,
} from '../../workflows/messages.js';
import { SandboxBench } from '../support/sandbox-bench.js';

let bench: SandboxBench;
beforeAll(async () => {
  bench = await SandboxBench.open();
});
afterAll(() => bench.close());

const OBSERVED: SandboxObservation['state'][] = ['running', 'paused', 'gone', 'silent', 'answering'];

/** What can befall a sandbox, in any order and at the same time. */
const step = fc.oneof(
  fc.record({
    kind: fc.constant('signal' as const),
    order: fc.constantFrom('pause' as const, 'resume' as const),
  }),
  fc.record({
    kind: fc.constant('update' as const),
    order: fc.constantFrom('pause' as const, 'resume' as const),
  }),
  fc.record({ kind: fc.constant('ensureRunning' as const) }),
  fc.record({ kind: fc.constant('seen' as const), state: fc.constantFrom(...OBSERVED) }),
  fc.record({ kind: fc.constant('seenOfAnother' as const), state: fc.constantFrom(...OBSERVED) }),
  fc.record({ kind: fc.constant('die' as const) }),
  fc.record({ kind: fc.constant('settle' as const) }),
  fc.record({
    kind: fc.constant('fail' as const),
    activity: fc.constantFrom('boot', 'suspend', 'awaken'),
  }),
  fc.record({ kind: fc.constant('mend' as const) }),
);

describe('whatever befalls a sandbox', () => {
  it('every order is answered, no two boots run at once, its row tells the truth, and it can be deleted', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        const { host } = bench;
        const actor = await bench.start();
        const id = actor.sandboxId;
        const fails = (activity: string) => `${activity} ${id}`;
        const answers: Promise<unknown>[] = [];
        const answered = (answer: Promise<unknown>) => answers.push(answer.catch((err: unknown) => err));
        for (const one of steps) {
          if (one.kind === 'signal') await actor.signal(sandboxSignal(one.order));
          if (one.kind === 'update') answered(actor.executeUpdate(sandboxUpdate(one.order)));
          if (one.kind === 'ensureRunning') answered(actor.executeUpdate(ensureRunningUpdate));
          if (one.kind === 'seen') await actor.signal(observedSignal, { state: one.state });
          if (one.kind === 'seenOfAnother') {
            await actor.signal(observedSignal, { state: one.state, thing: 'an earlier one' });
          }
          if (one.kind === 'die' && host.things.delete(id)) {
            await actor.signal(observedSignal, { state: 'gone', exitCode: 137 });
          }
          if (one.kind === 'settle') await bench.reached(actor);
          if (one.kind === 'fail') host.failing.set(fails(one.activity), 'no space left on device');
          if (one.kind === 'mend')
            for (const activity of ['boot', 'suspend', 'awaken']) host.failing.delete(fails(activity));
        }
        for (const activity of ['boot', 'suspend', 'awaken']) host.failing.delete(fails(activity));
        await Promise.all(answers);

        // At rest it runs on demand, whatever it went through, and what it shows is so.
        expect(await actor.executeUpdate(ensureRunningUpdate)).toBe('RUNNING');
        // An observation may have become old while it waited; the watcher's next look sets that right.
        await actor.signal(observedSignal, { state: host.things.get(id) ?? 'gone' });
        const { status } = await bench.reached(actor);
        const row = host.statuses(id).at(-1);
        if (status === 'PAUSED') expect(host.things.get(id)).not.toBe('running');
        if (row !== undefined && row !== 'STARTING') expect(row).toBe(status);
        expect(host.mostBootsAtOnce).toBeLessThanOrEqual(1);

        const last = SANDBOX_ORDERS.map((order) =>
          actor.executeUpdate(sandboxUpdate(order)).catch((err: unknown) => err),
        );
        await Promise.all(last);
        await actor.result();
        expect(host.things.has(id)).toBe(false);
        expect(host.rows.get(id)?.at(-1)).toEqual({ status: 'MISSING', detail: 'deleted' });
      }),
      { numRuns: 20, endOnFailure: true },
    );
  }, 420_000);
});
