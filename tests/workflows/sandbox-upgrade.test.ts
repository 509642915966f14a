import { bundleWorkflowCode } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { observedSignal, sandboxStateQuery, sandboxUpdate } from '../../workflows/messages.js';
import { SandboxBench } from '../support/sandbox-bench.js';
import { bundleWorkflows } from '../support/temporal.js';

let bench: SandboxBench;
beforeAll(async () => {
  const workflowsPath = fileURLToPath(new URL('../support/workflows-0-1-0.ts', import.meta.url));
  bench = await SandboxBench.open(bundleWorkflowCode({ workflowsPath }));
});
afterAll(() => bench.close());

describe('a sandbox that was started by version 0.1.0', () => {
  it('goes on as one of this version after the first thing that reaches it', async () => {
    const { taskQueue, host } = bench;
    const actor = await bench.start();
    await vi.waitFor(
      async () => expect((await actor.query(sandboxStateQuery)).status).toBe('RUNNING'),
      30_000,
    );
    expect(await actor.executeUpdate(sandboxUpdate('pause'))).toBe('PAUSED');
    await bench.stopGeneral();
    await bench.work({
      taskQueue,
      workflowBundle: await bundleWorkflows(),
      activities: host.rowActivities,
    });
    expect(await actor.executeUpdate(sandboxUpdate('resume'))).toBe('RUNNING');
    // Only this version looks whether its sandboxes are idle.
    await vi.waitFor(() => expect(host.calls).toContain(`judgeIdleness ${actor.sandboxId}`), 90_000);
    await actor.signal(observedSignal, { state: 'silent' });
    await vi.waitFor(() => expect(host.statuses(actor.sandboxId).at(-1)).toBe('ERROR'), 90_000);
    expect(
      await bench.environment.client.workflow
        .getHandle(actor.workflowId)
        .executeUpdate(sandboxUpdate('delete')),
    ).toBe('MISSING');
    expect(host.things.has(actor.sandboxId)).toBe(false);
  });
});
