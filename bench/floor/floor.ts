/** What Temporal alone allows: the steps of a start, in which nothing is done, on the same server and SDK. */
import { WithStartWorkflowOperation } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { WORKFLOW_POLLS } from '../../cli/worker-options.js';
import { FAILURE_CONVERTER_PATH } from '../../identity/data-converter.js';
import type { Product } from '../../tests/support/product.js';
import { createTestWorker } from '../../tests/support/temporal.js';
import { withoutStackTraces } from '../../workflows/stack-traces.js';

const TASK_QUEUE = 'floor';
const DONE = 'done';

export interface FloorActivities {
  nothing(id: string): Promise<void>;
  /** Starts the actor of a sandbox, and waits for it. */
  untilSandbox(id: string, actor: 'floorSandbox' | 'fewestSandbox'): Promise<void>;
}

export interface Floor {
  /** Begins so many at once, with the steps of a start or the fewest conceivable. @returns how many a second came to their end */
  starts(count: number, steps?: 'same' | 'fewest'): Promise<number>;
  close(): Promise<void>;
}

/** A worker in this process, which beside it only waits. */
export async function openFloor({ temporal }: Pick<Product, 'temporal'>): Promise<Floor> {
  const { client } = temporal;
  const withStart = (workflow: string, id: string) =>
    new WithStartWorkflowOperation(workflow, {
      workflowId: `${workflow}/${id}`,
      taskQueue: TASK_QUEUE,
      args: [id],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
  const activities: FloorActivities = {
    nothing: () => Promise.resolve(),
    async untilSandbox(id, actor) {
      const startWorkflowOperation = withStart(actor, id);
      await client.workflow.executeUpdateWithStart(DONE, { startWorkflowOperation });
    },
  };
  const bundle = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('./workflows.ts', import.meta.url)),
    failureConverterPath: FAILURE_CONVERTER_PATH,
    logger: new DefaultLogger('ERROR'),
  });
  const worker = await createTestWorker(temporal, {
    taskQueue: TASK_QUEUE,
    workflowBundle: { ...bundle, code: withoutStackTraces(bundle.code) },
    activities: { ...activities },
    ...WORKFLOW_POLLS,
  });
  const run = worker.run();
  const start = async (steps: 'same' | 'fewest'): Promise<void> => {
    const id = randomUUID();
    const options = { workflowId: `start/${id}`, taskQueue: TASK_QUEUE, args: [id] };
    await client.workflow.execute(steps === 'same' ? 'floorStart' : 'fewestStart', options);
  };
  await start('same');
  return {
    async starts(count, steps = 'same') {
      const began = performance.now();
      await Promise.all(Array.from({ length: count }, () => start(steps)));
      return (count * 1_000) / (performance.now() - began);
    },
    async close() {
      worker.shutdown();
      await run;
    },
  };
}
