import { describe, expect, it } from 'vitest';
import type { ConversationRuntime } from '../../../activities/callbacks/conversation-runtime.js';
import { setTitle, type TitleDeps } from '../../../activities/callbacks/set-title.js';
import { AgentServerError } from '../../../agent-server/errors.js';
import type { ConversationRecord } from '../../../db/conversation-repository.js';

const ID = 'a'.repeat(32);
const DONE = { result: { status: 'SUCCESS', detail: null }, status: 'DISABLED' };

const unreachable = () =>
  new AgentServerError({ status: null, kind: 'refused', detail: 'nothing listens', call: 'GET' });

interface Situation {
  /** Title before; absent for no conversation at all. */
  title?: string | null;
  /** What the agent-server answers to each question for the record, the last one again and again. */
  records?: (object | null | Error)[];
  generated?: string | null;
  /** How often handing over the title fails. */
  patchFailures?: number;
  running?: boolean;
  firstMessage?: string;
  /** Set by a user while the model thinks. */
  chosenMeanwhile?: string;
}

/** Plays a situation through and tells what came of it. */
async function play(situation: Situation) {
  const {
    records = [{ title: null }],
    patchFailures = 0,
    running = true,
    firstMessage = 'Please fix the login',
  } = situation;
  let title = 'title' in situation ? situation.title : `Conversation ${ID.slice(0, 5)}`;
  const waits: number[] = [];
  const patches: unknown[] = [];
  let asked = 0;
  let failures = patchFailures;
  const runtime = {
    async conversation() {
      const answer = records[Math.min(asked++, records.length - 1)];
      if (situation.chosenMeanwhile) title = situation.chosenMeanwhile;
      if (answer instanceof Error) throw answer;
      return answer;
    },
    generateTitle: async () => situation.generated ?? null,
    async patchConversation(_id: string, change: unknown) {
      if (failures-- > 0) throw unreachable();
      patches.push(change);
      return true;
    },
  } as unknown as ConversationRuntime;
  const message = {
    id: 'm',
    kind: 'MessageEvent',
    source: 'user',
    llm_message: { content: [{ type: 'text', text: firstMessage }] },
  };
  const deps: TitleDeps = {
    conversations: {
      read: async () =>
        title === undefined ? null : ({ id: ID, title, deletedAt: null } as ConversationRecord),
      async setTitleIfDefault(_id, taken) {
        if (title && !title.startsWith('Conversation ')) return false;
        title = taken;
        return true;
      },
    },
    events: {
      search: async () => ({ items: firstMessage ? [JSON.stringify(message)] : [], next_page_id: null }),
    },
    runtimeOf: async () => (running ? runtime : null),
    sleep: async (ms) => void waits.push(ms),
    signal: new AbortController().signal,
    logger: { warn: () => undefined },
  };
  const outcome = await setTitle(deps, ID);
  return { outcome, title, asked, patches, waits };
}

describe('the title of a conversation', () => {
  it('is the one that the agent-server has made with the model', async () => {
    const played = await play({ records: [{ title: null }, { title: '' }, { title: ' Fix\nlogin ' }] });
    expect(played).toMatchObject({ outcome: DONE, title: 'Fix login', asked: 3, patches: [] });
  });

  it('is waited for, longer each time, but not longer than twelve seconds', async () => {
    const { waits, asked } = await play({});
    const questions = waits.slice(0, asked);
    expect(asked).toBeGreaterThan(3);
    expect(questions).toEqual([...questions].sort((a, b) => a - b));
    expect(questions.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(12_000);
  });

  it('is the beginning of the first message when the model gives none, and the agent-server is told', async () => {
    expect(await play({})).toMatchObject({
      outcome: DONE,
      title: 'Please fix the login',
      patches: [{ title: 'Please fix the login' }],
    });
  });

  it('is made by an old agent-server on request: one that does not know the call, or tells no title', async () => {
    for (const record of [null, {}]) {
      const played = await play({ records: [record], generated: 'Generated' });
      expect(played).toMatchObject({ outcome: DONE, title: 'Generated', asked: 1, patches: [] });
      expect(await play({ records: [record], generated: null })).toMatchObject({
        title: 'Please fix the login',
      });
    }
  });

  it('survives an agent-server that fails now and then', async () => {
    const flaky = await play({ records: [unreachable(), { title: 'Made' }] });
    expect(flaky).toMatchObject({ outcome: DONE, title: 'Made' });
    const pushed = await play({ patchFailures: 2 });
    expect(pushed.patches).toHaveLength(1);
    expect(await play({ patchFailures: 99 })).toMatchObject({ outcome: DONE, title: 'Please fix the login' });
  });

  it('that a user has chosen is left alone, and nobody is asked', async () => {
    expect(await play({ title: 'Mine' })).toMatchObject({
      outcome: DONE,
      title: 'Mine',
      asked: 0,
      patches: [],
    });
  });

  it('that a user chooses while the model thinks stays, here and at the agent-server (D13)', async () => {
    expect(await play({ chosenMeanwhile: 'Mine' })).toMatchObject({
      outcome: DONE,
      title: 'Mine',
      patches: [],
    });
  });

  it.each([null, '', `Conversation ${ID}`])('%j counts as none', async (title) => {
    expect(await play({ title, records: [{ title: 'Made' }] })).toMatchObject({ title: 'Made' });
  });

  it('waits for the next message while no user has said anything', async () => {
    expect(await play({ firstMessage: '' })).toMatchObject({
      outcome: {},
      title: `Conversation ${ID.slice(0, 5)}`,
    });
  });

  it('cannot be set without the conversation, or while its sandbox does not run', async () => {
    await expect(play({ title: undefined })).rejects.toThrow('does not exist');
    await expect(play({ running: false })).rejects.toThrow('not running');
  });
});
