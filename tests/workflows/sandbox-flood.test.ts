import { afterAll, beforeAll, expect, it } from 'vitest';
import { createActors } from '../../api/actors.js';
import { observedSignal, sandboxSignal, sandboxUpdate } from '../../workflows/messages.js';
import { SandboxBench } from '../support/sandbox-bench.js';
import { bundleWorkflows } from '../support/temporal.js';

const SIGNALS = 4_000;
const SENDERS = 40;

const bundle = bundleWorkflows();
let bench: SandboxBench;
beforeAll(async () => {
  bench = await SandboxBench.open(bundle);
});
afterAll(() => bench.close());

it('thousands of signals that waited for a worker are dealt with in one task, and the order after them is obeyed', async () => {
  const { taskQueue, host } = bench;
  const actor = await bench.startIn('RUNNING');
  await actor.executeUpdate(sandboxUpdate('pause'));
  await bench.stopGeneral();
  let sent = 0;
  const send = async (sender: number): Promise<void> => {
    while (sent < SIGNALS) {
      sent += 1;
      if (sent % 10 === 0) await actor.signal(sandboxSignal(sent % 20 === 0 ? 'pause' : 'resume'));
      else await actor.signal(observedSignal, { state: sender % 2 === 0 ? 'answering' : 'running' });
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, (_, sender) => send(sender)));

  await bench.work({ taskQueue, workflowBundle: await bundle, activities: host.rowActivities });
  const actors = createActors(bench.environment.client, { taskQueue });
  const sandbox = {
    id: actor.sandboxId,
    status: 'RUNNING',
    hostId: host.hostId,
    createdByUserId: null,
  } as const;
  await actors.order(sandbox, 'delete', 'accepted');
  await actor.result();
  expect(host.things.has(actor.sandboxId)).toBe(false);
  expect(host.rows.get(actor.sandboxId)?.at(-1)).toEqual({ status: 'MISSING', detail: 'deleted' });
  // What was said a thousand times was done once or twice.
  expect(bench.actionsOf(actor.sandboxId).length).toBeLessThan(10);
}, 420_000);
