import type { SignalDefinition } from '@temporalio/common';
import type { WorkflowHandleWithSignaledRunId } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker } from '@temporalio/worker';
import { conversationWorkflowId } from '../../contract/ids.js';
import { CONVERSATION_WORKFLOW } from '../../workflows/messages.js';
import { FakeConversation } from './fake-conversation.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from './temporal.js';

/** Actors of conversations on a real Temporal, on a task queue of their own, with activities that a test steers. */
export interface ConversationActors {
  environment: TestWorkflowEnvironment;
  fake: FakeConversation;
  /** Starts the worker; until then signals pile up. */
  work(): Promise<Worker>;
  /** Sends a signal to the actor of a conversation, as the API does: one that does not live is started. */
  wake(id: string, signal: SignalDefinition): Promise<WorkflowHandleWithSignaledRunId>;
  /** Ends the worker and the connection. */
  close(): Promise<void>;
}

/** @param address of a Temporal of the test's own; left out, the one that all tests share */
export async function openConversationActors(address?: string): Promise<ConversationActors> {
  const environment = await connectTemporal(address);
  const taskQueue = uniqueTaskQueue();
  const fake = new FakeConversation();
  let stop = async (): Promise<void> => undefined;
  return {
    environment,
    fake,
    async work() {
      const workflowBundle = await bundleWorkflows();
      const worker = await createTestWorker(environment, {
        taskQueue,
        workflowBundle,
        activities: fake.activities,
      });
      const run = worker.run();
      stop = () => {
        worker.shutdown();
        return run;
      };
      return worker;
    },
    wake: (id, signal) =>
      environment.client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
        workflowId: conversationWorkflowId(id),
        taskQueue,
        args: [{ conversationId: id }],
        signal,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      }),
    async close() {
      await stop();
      await environment.teardown();
    },
  };
}
