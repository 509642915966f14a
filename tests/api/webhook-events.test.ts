import { writeFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '../../contract/primitives.js';
import { startEventApi, type EventApi, type TestSandbox } from '../support/event-api.js';
import {
  RECORDED_CONVERSATIONS,
  recordedEvents,
  recordedLog,
  recordedWebhooks,
} from '../support/recorded.js';
import { newId } from '../support/rows.js';

type Json = Record<string, unknown>;

let api: EventApi;
let sandbox: TestSandbox;

beforeAll(async () => {
  api = await startEventApi();
  sandbox = await api.newSandbox('ada');
});
afterAll(() => api.close());

let clock = 0;
const event = (change: Json = {}): Json => ({
  id: newId(),
  kind: 'MessageEvent',
  source: 'user',
  timestamp: `2026-01-01T00:00:00.${String(++clock).padStart(6, '0')}`,
  ...change,
});
const update = (key: string, value: unknown, timestamp: string) =>
  event({ kind: 'ConversationStateUpdateEvent', key, value, timestamp });
const stats = (accumulated_cost: number, timestamp: string, prompt_tokens = 0) =>
  update(
    'stats',
    { usage_to_metrics: { agent: { accumulated_cost, accumulated_token_usage: { prompt_tokens } } } },
    timestamp,
  );

const post = (id: string, events: unknown, box = sandbox) =>
  api.post(`/api/v1/webhooks/events/${id}`, box.key, events);

const stored = async (id: string): Promise<Json[]> => {
  const found: Json[] = [];
  let pageId: string | null = null;
  do {
    const query: string = pageId === null ? '' : `&page_id=${pageId}`;
    const { body } = await api.get<Page<Json>>(
      `/api/v1/conversation/${id}/events/search?limit=50${query}`,
      'ada',
    );
    found.push(...body.items);
    pageId = body.next_page_id;
  } while (pageId !== null);
  return found;
};

const isKept = (item: Json) => item['kind'] !== 'StreamingDeltaEvent' && item['key'] !== 'full_state';
const byTime = (a: Json, b: Json) => String(a['timestamp']).localeCompare(String(b['timestamp']));

describe('recorded traffic', () => {
  it.each(RECORDED_CONVERSATIONS)(
    'of %s goes in by webhooks and comes out equal in content',
    async (name) => {
      const webhooks = recordedWebhooks(name);
      const sent: Json[] = [];
      for (const { url, body } of webhooks) {
        const answer = await api.post(url, sandbox.key, body);
        expect(answer, url).toMatchObject({ status: 200, body: { success: true } });
        if (Array.isArray(body)) sent.push(...body.filter(isKept));
      }
      const id = webhooks.map(({ url }) => /events\/([0-9a-f]{32})/.exec(url)?.[1]).find((found) => found);
      expect(await stored(String(id))).toEqual([...sent].sort(byTime));
      expect((await api.get(`/api/v1/events/count?conversation_id__eq=${String(id)}`, 'ada')).body).toBe(
        sent.length,
      );
      expect(await api.conversation(String(id))).toMatchObject({
        sandboxId: sandbox.id,
        createdByUserId: 'ada',
        llmModel: 'openai/scripted',
        executionStatus: 'finished',
        metrics: { accumulated_token_usage: { prompt_tokens: expect.any(Number) as number } },
      });
      expect(api.ended).toContain(id);
    },
  );

  it('are stored without secrets, and byte for byte otherwise', async () => {
    const id = newId();
    const first = event({ text: 'echo a secret of the tests', n: 1 });
    const second = event({ text: 'nothing' });
    expect((await post(id, [first, second])).status).toBe(200);
    expect(await stored(id)).toEqual([{ ...first, text: 'echo **********' }, second]);
  });

  it('of the complete log and of other tools is stored whatever the order and however often', async () => {
    const id = newId();
    const log = [
      ...recordedLog('1.34.0'),
      ...recordedEvents('file-editor-and-think'),
      ...recordedEvents('unknown-tool-call'),
    ];
    const batches = [log.slice(5), log, log.slice(0, 5)].map((batch) => [...batch].reverse());
    const answers = await Promise.all([...batches, ...batches].map((batch) => post(id, batch)));
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
    expect(await stored(id)).toEqual([...log].sort(byTime));
  });
});

describe('a batch', () => {
  it('with an event of a kind that nobody has heard of is stored whole (D18)', async () => {
    const id = newId();
    const batch = [event(), event({ kind: 'HologramEvent', depth: 3 }), event()];
    expect((await post(id, batch)).status).toBe(200);
    expect(await stored(id)).toEqual(batch);
  });

  it('for a conversation without a row is stored, and makes one (D18)', async () => {
    const id = newId();
    await post(id, [event()]);
    expect(await api.conversation(id)).toMatchObject({
      title: null,
      sandboxId: sandbox.id,
      createdByUserId: 'ada',
    });
    const [callback] = await api.callbacks.ofConversation(id);
    expect(callback?.processorKind).toBe('SetTitleCallbackProcessor');
  });

  it('that is empty is fine and makes nothing', async () => {
    const id = newId();
    expect((await post(id, [])).status).toBe(200);
    expect(await api.conversations.read(id)).toBeNull();
  });

  it.each([
    [{ kind: 'K' }, 'id', 'missing'],
    [{ id: 'x' }, 'kind', 'missing'],
    [{ id: 7, kind: 'K' }, 'id', 'string_type'],
    [{ id: 'a\0b', kind: 'K' }, 'id', 'value_error'],
  ])('with the element %j is refused whole', async (element, member, type) => {
    const id = newId();
    expect(await post(id, [event(), element])).toMatchObject({
      status: 422,
      body: { detail: [{ type, loc: ['body', 1, member] }] },
    });
    expect(await api.conversations.read(id)).toBeNull();
  });

  it.each([
    ['{}', 'list_type', ['body']],
    ['[null]', 'dict_type', ['body', 0]],
  ])('%s is refused', async (body, type, loc) => {
    expect(await post(newId(), body)).toMatchObject({ status: 422, body: { detail: [{ type, loc }] } });
  });

  it('keeps numbers, escapes and the order of members as they were sent', async () => {
    const id = newId();
    const text =
      '{"kind":"Odd","id":"exact","10":1,"9":2,"n":9007199254740993,"f":1.0,"s":"\\u0000\\ud800é","timestamp":null}';
    expect((await post(id, `[${text}]`)).status).toBe(200);
    const { text: answer } = await api.get(`/api/v1/conversation/${id}/events/search`, 'ada');
    expect(answer).toBe(`{"items":[${text}],"next_page_id":null}`);
  });

  it('of a thousand events is stored in one go, other requests being served meanwhile', async () => {
    const id = newId();
    const text = 'x'.repeat(2_000);
    const batch = Array.from({ length: 1_000 }, () => event({ text }));
    let finished = false;
    const posted = post(id, batch).finally(() => (finished = true));
    let served = 0;
    while (!finished) {
      expect((await api.get('/api/v1/events/count?conversation_id__eq=' + newId())).body).toBe(0);
      served++;
    }
    expect((await posted).status).toBe(200);
    expect(served).toBeGreaterThan(2);
    expect((await api.get(`/api/v1/events/count?conversation_id__eq=${id}`, 'ada')).body).toBe(1_000);
  });
});

describe('when the disk fails', () => {
  it('the answer is a 500 and nothing is visible; sent again it is stored (D10)', async () => {
    const id = newId();
    const directory = join(api.directory, 'v1', 'events');
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, id), 'in the way');
    const batch = [event(), stats(1, '2026-01-01T00:00:01')];
    expect((await post(id, batch)).status).toBe(500);
    expect(await stored(id)).toEqual([]);
    await rm(join(directory, id));
    expect((await post(id, batch)).status).toBe(200);
    expect(await stored(id)).toEqual(batch);
    expect((await api.conversation(id)).metrics?.accumulated_cost).toBe(1);
  });

  it('a failure after storing is a 500 too, and repeating it completes what was left (D10)', async () => {
    const failing = await startEventApi({
      wrapEvents: (events) => {
        let failures = 1;
        return {
          ...events,
          async ingest(id, incoming) {
            const result = await events.ingest(id, incoming);
            if (failures-- > 0) throw new Error('the connection was lost');
            return result;
          },
        };
      },
    });
    try {
      const box = await failing.newSandbox();
      const id = newId();
      const path = `/api/v1/webhooks/events/${id}`;
      const batch = [event(), stats(0.25, '2026-01-01T00:00:01')];
      expect((await failing.post(path, box.key, batch)).status).toBe(500);
      expect((await failing.post(path, box.key, batch)).status).toBe(200);
      expect((await failing.conversation(id)).metrics?.accumulated_cost).toBe(0.25);
      expect(await failing.events.count({ conversationId: id, users: null })).toBe(2);
    } finally {
      await failing.close();
    }
  });
});

describe('statistics and status', () => {
  it('a positive cost is stored, with the status of the same batch (D11)', async () => {
    const id = newId();
    await post(id, [
      stats(0.75, '2026-01-01T00:00:02', 20),
      update('execution_status', 'running', '2026-01-01T00:00:02'),
    ]);
    expect(await api.conversation(id)).toMatchObject({
      metrics: {
        model_name: 'default',
        accumulated_cost: 0.75,
        accumulated_token_usage: { prompt_tokens: 20 },
      },
      executionStatus: 'running',
    });
  });

  it('an older event that comes late changes nothing', async () => {
    const id = newId();
    await post(id, [
      stats(2, '2026-01-01T00:00:02', 20),
      update('execution_status', 'finished', '2026-01-01T00:00:02'),
    ]);
    await post(id, [
      stats(1, '2026-01-01T00:00:01', 10),
      update('execution_status', 'running', '2026-01-01T00:00:01'),
    ]);
    expect(await api.conversation(id)).toMatchObject({
      metrics: { accumulated_cost: 2, accumulated_token_usage: { prompt_tokens: 20 } },
      executionStatus: 'finished',
    });
  });

  it('a full snapshot tells the status too, and is not stored', async () => {
    const id = newId();
    await post(id, [
      update('full_state', { execution_status: 'waiting_for_confirmation' }, '2026-01-01T00:00:03'),
    ]);
    expect((await api.conversation(id)).executionStatus).toBe('waiting_for_confirmation');
    expect(await stored(id)).toEqual([]);
  });

  it('a switch of the model is noted', async () => {
    const id = newId();
    await post(id, [
      event({
        kind: 'ObservationEvent',
        tool_name: 'switch_llm',
        observation: { kind: 'SwitchLLMObservation', active_model: 'openai/other' },
      }),
    ]);
    expect((await api.conversation(id)).llmModel).toBe('openai/other');
  });
});

describe('callbacks', () => {
  it('are queued before the answer, and the actor is woken only when something waits (D15)', async () => {
    const id = newId();
    const message = event();
    await post(id, [message]);
    expect(await api.callbacks.remaining(id)).toBe(1);
    expect(api.woken.filter((woken) => woken === id)).toHaveLength(1);
    await post(id, [message, event({ kind: 'ActionEvent' })]);
    expect(await api.callbacks.remaining(id)).toBe(1);
    expect(api.woken.filter((woken) => woken === id)).toHaveLength(1);
    expect(await api.callbacks.conversationsWithQueuedCallbacks()).toContain(id);
  });
});

describe('a deleted conversation', () => {
  it('takes its late events with a 200 and keeps none of them (D19)', async () => {
    const id = newId();
    await post(id, [event()]);
    await api.conversations.markDeleted(id);
    expect((await post(id, [event(), stats(9, '2026-01-01T00:00:09')])).status).toBe(200);
    expect(await stored(id)).toEqual([]);
    expect((await api.conversation(id)).metrics).toBeNull();
  });
});
