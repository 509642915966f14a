/** What activities ask Temporal about workflows. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';

/** Between two looks at a workflow whose end is waited for, in milliseconds. */
const LOOK_MS = 500;

/** Whether a workflow runs, has ended (and how), or is not known: never started, or forgotten. */
export type WorkflowState = { state: 'running' } | { state: 'closed'; status: string } | { state: 'unknown' };

/** Asks for the newest run of a workflow. */
export async function workflowState(
  client: Pick<Client, 'workflow'>,
  workflowId: string,
): Promise<WorkflowState> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING' ? { state: 'running' } : { state: 'closed', status: status.name };
  } catch (err) {
    if (err instanceof WorkflowNotFoundError) return { state: 'unknown' };
    throw err;
  }
}

/** Resolves when a workflow does not run any more. */
export async function awaitWorkflowEnd(
  client: Pick<Client, 'workflow'>,
  workflowId: string,
  signal: AbortSignal,
): Promise<void> {
  while ((await workflowState(client, workflowId)).state === 'running') {
    await sleep(LOOK_MS, undefined, { signal });
  }
}
