import { describe, expect, it, vi } from 'vitest';
import type { ExecutionStatus } from '../../../contract/conversation.js';
import { dashedId, hexId } from '../../../contract/ids.js';
import type { ListedConversation } from '../../../db/conversation-read-model.js';
import type { AgentServerCalls } from '../../../api/agent-server-access.js';
import { createLiveStatus } from '../../../api/live-status.js';

let made = 0;
const newId = () => (++made).toString(16).padStart(32, '0');

interface Given {
  sandboxId?: string;
  sandboxStatus?: ListedConversation['sandbox']['status'];
  status?: ExecutionStatus | null;
  heardSecondsAgo?: number;
}

function conversation({ sandboxId, sandboxStatus = 'RUNNING', status = null, heardSecondsAgo }: Given = {}) {
  const id = newId();
  const sandbox = { id: sandboxId ?? `box-${id}`, status: sandboxStatus };
  const executionStatusAt =
    heardSecondsAgo === undefined ? null : new Date(Date.now() - heardSecondsAgo * 1000);
  return {
    conversation: { id, executionStatus: status, executionStatusAt },
    sandbox,
    subConversationIds: [],
  } as unknown as ListedConversation;
}

/** Agent-servers by sandbox; each answers for the conversations it is asked about. */
class AgentServers {
  readonly asked: { sandboxId: string; ids: string[] }[] = [];
  constructor(private readonly answer: (sandboxId: string) => Promise<string>) {}

  of = ({ sandbox }: Pick<ListedConversation, 'sandbox'>): Promise<AgentServerCalls> =>
    Promise.resolve({
      conversations: async (ids: readonly string[]) => {
        this.asked.push({ sandboxId: sandbox.id, ids: [...ids] });
        const status = await this.answer(sandbox.id);
        return ids.map((id) => ({ id: dashedId(id), execution_status: status }));
      },
    } as unknown as AgentServerCalls);
}

const never = () => new Promise<string>(() => undefined);
const logger = () => ({ warn: vi.fn() });

describe('the status of a conversation', () => {
  it('is what the webhooks left, without a call, where that is current', async () => {
    const servers = new AgentServers(() => Promise.resolve('idle'));
    const live = createLiveStatus({ agentServers: servers, logger: logger() });
    const finished = conversation({ status: 'finished', heardSecondsAgo: 3_600 });
    const running = conversation({ status: 'running', heardSecondsAgo: 5 });
    const statuses = await live.of([finished, running]);
    expect([...statuses.values()]).toEqual(['finished', 'running']);
    expect(servers.asked).toEqual([]);
  });

  it('is asked of the agent-server where nothing is known, or a run has been silent for half a minute', async () => {
    const servers = new AgentServers(() => Promise.resolve('waiting_for_confirmation'));
    const live = createLiveStatus({ agentServers: servers, logger: logger() });
    const unknown = conversation();
    const silent = conversation({ status: 'running', heardSecondsAgo: 31 });
    const undated = conversation({ status: 'running' });
    const statuses = await live.of([unknown, silent, undated]);
    expect([...statuses.values()]).toEqual(Array(3).fill('waiting_for_confirmation'));
  });

  it('is null, without a call, while the sandbox is not RUNNING', async () => {
    const servers = new AgentServers(() => Promise.resolve('idle'));
    const live = createLiveStatus({ agentServers: servers, logger: logger() });
    for (const sandboxStatus of ['STARTING', 'PAUSED', 'ERROR', 'MISSING'] as const) {
      const item = conversation({ sandboxStatus, status: 'finished' });
      expect((await live.of([item])).get(item.conversation.id)).toBeNull();
    }
    expect(servers.asked).toEqual([]);
  });

  it('is asked once per sandbox, for all its conversations together', async () => {
    const servers = new AgentServers(() => Promise.resolve('idle'));
    const live = createLiveStatus({ agentServers: servers, logger: logger() });
    const items = [
      conversation({ sandboxId: 'a' }),
      conversation({ sandboxId: 'b' }),
      conversation({ sandboxId: 'a' }),
    ];
    await live.of(items);
    expect(servers.asked.map(({ sandboxId, ids }) => [sandboxId, ids.length])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
  });

  it('is null with a line in the log where the agent-server fails, and there only', async () => {
    const servers = new AgentServers((id) =>
      id === 'broken' ? Promise.reject(new Error('HTTP 500')) : Promise.resolve('idle'),
    );
    const log = logger();
    const live = createLiveStatus({ agentServers: servers, logger: log });
    const [broken, fine] = [conversation({ sandboxId: 'broken' }), conversation({ sandboxId: 'fine' })];
    const statuses = await live.of([broken, fine]);
    expect(statuses.get(broken.conversation.id)).toBeNull();
    expect(statuses.get(fine.conversation.id)).toBe('idle');
    expect(log.warn).toHaveBeenCalledTimes(1);
  });

  it('is null for a status that this version does not know', async () => {
    const live = createLiveStatus({
      agentServers: new AgentServers(() => Promise.resolve('levitating')),
      logger: logger(),
    });
    const item = conversation();
    expect((await live.of([item])).get(item.conversation.id)).toBeNull();
  });

  it('of one hung sandbox does not delay the list beyond the limit, nor the lists that come meanwhile', async () => {
    const servers = new AgentServers((id) => (id === 'hung' ? never() : Promise.resolve('idle')));
    const live = createLiveStatus({ agentServers: servers, logger: logger(), limitMs: 200 });
    const [hung, fine] = [conversation({ sandboxId: 'hung' }), conversation({ sandboxId: 'fine' })];
    // The hung one never answers: without the limit this would not end.
    const lists = await Promise.all([live.of([hung, fine]), live.of([hung]), live.of([hung])]);
    expect(lists[0].get(fine.conversation.id)).toBe('idle');
    for (const list of lists) expect(list.get(hung.conversation.id)).toBeNull();
    expect(servers.asked.filter(({ sandboxId }) => sandboxId === 'hung')).toHaveLength(1);
  });

  it('is remembered for a moment and asked for again afterwards', async () => {
    let answer = 'running';
    const servers = new AgentServers(() => Promise.resolve(answer));
    const live = createLiveStatus({ agentServers: servers, logger: logger(), freshForMs: 150 });
    const item = conversation();
    const status = async () => (await live.of([item])).get(item.conversation.id);
    expect(await status()).toBe('running');
    answer = 'finished';
    expect(await status()).toBe('running');
    await vi.waitFor(async () => expect(await status()).toBe('finished'), 90_000);
    expect(servers.asked).toHaveLength(2);
    expect(servers.asked[0]?.ids.map(hexId)).toEqual([item.conversation.id]);
  });
});
