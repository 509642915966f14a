/** On a Temporal of its own, which finds histories long that are short elsewhere. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startEmbeddedTemporal } from '../../cli/embedded/temporal.js';
import { callbacksQueuedSignal, messagesQueuedSignal } from '../../workflows/messages.js';
import { required } from '../support/environment.js';
import { openConversationActors, type ConversationActors } from '../support/conversation-actors.js';

/** Events after which this Temporal suggests a new run; 4,096 by default. */
const LONG = 100;

describe('a conversation actor that lives for long', () => {
  let directory: string;
  let temporal: Awaited<ReturnType<typeof startEmbeddedTemporal>>;
  let actors: ConversationActors;
  let fake: ConversationActors['fake'];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'callboard-long-life-'));
    temporal = await startEmbeddedTemporal({
      cli: required('TEST_TEMPORAL_CLI'),
      dataDir: directory,
      log: () => undefined,
      ports: { frontend: 0, ui: 0 },
      extraArgs: ['--dynamic-config-value', `limit.historyCount.suggestContinueAsNew=${LONG}`],
    });
    actors = await openConversationActors(temporal.address);
    fake = actors.fake;
    await actors.work();
  });
  afterAll(async () => {
    await actors.close();
    await temporal.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** Ids of its runs, first to last. */
  async function runsOf(workflowId: string, first: string): Promise<string[]> {
    const runs = [first];
    for (;;) {
      const { events } = await actors.environment.client.workflow
        .getHandle(workflowId, runs.at(-1))
        .fetchHistory();
      const next = events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
      if (!next) return runs;
      runs.push(next);
    }
  }

  it('goes on in new runs, and tells every message once, in order, those that come in between too', async () => {
    const id = randomUUID();
    const texts = Array.from({ length: 40 }, (_, number) => `message ${number}`);
    const say = async (...said: string[]) => {
      fake.waiting.push(...said);
      return actors.wake(id, messagesQueuedSignal);
    };
    fake.holdDeliveries = true;
    const first = await say(...texts.slice(0, 3));
    await vi.waitFor(() => expect(fake.delivered).toHaveLength(1), 90_000);
    // Its history grows beside the delivery, which is not cut short for it.
    await vi.waitFor(
      async () => {
        await actors.wake(id, callbacksQueuedSignal);
        expect((await first.describe()).historyLength).toBeGreaterThan(LONG);
      },
      { timeout: 180_000, interval: 10 },
    );
    await say(...texts.slice(3, 6));
    fake.holdDeliveries = false;
    for (const text of texts.slice(6)) await say(text);
    await actors.environment.client.workflow.getHandle(first.workflowId).result();
    expect(fake.told).toEqual(texts);
    expect(fake.waiting).toEqual([]);
    expect((await runsOf(first.workflowId, first.signaledRunId)).length).toBeGreaterThan(1);
  });
});
