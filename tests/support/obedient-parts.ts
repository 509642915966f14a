/** What carries out orders, for tests of who may give them: everything is done at once, and starts are ready at once. */
import { randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { ServerMonitor } from '../../api/server-info.js';
import { StreamRegistry } from '../../api/start-stream.js';
import type { Core } from '../../cli/core.js';
import { startRequests, startTasks, startTaskTransitions } from '../../db/schema/index.js';

export function obedientParts({ connection: { database } }: Core): Record<string, unknown> {
  const done = () => Promise.resolve();
  return {
    monitor: new ServerMonitor('/tmp'),
    streams: new StreamRegistry(),
    waker: { wake: () => undefined },
    lostEvents: { compare: () => undefined, failed: () => undefined },
    messageQueue: {
      enqueue: () => Promise.resolve({ id: randomUUID(), position: 1 }),
      outcome: () => Promise.resolve(null),
    },
    gitProviders: EMPTY_GIT_HOST,
    client: {
      options: { namespace: 'default' },
      withDeadline: (_: number, work: () => Promise<unknown>) => work(),
      workflowService: { describeNamespace: done },
    },
    actors: {
      cancelStart: done,
      startSandbox: done,
      order: done,
      deleteConversation: done,
      runEnded: done,
      async startConversation(taskId: string) {
        const [request] = await database.select().from(startRequests).where(eq(startRequests.id, taskId));
        if (!request) throw new Error('the request is not stored');
        const { id, conversationId, createdByUserId } = request;
        const now = new Date();
        await database
          .insert(startTasks)
          .values({ id, conversationId, createdByUserId, status: 'READY', createdAt: now, updatedAt: now });
        await database.insert(startTaskTransitions).values({ taskId, sequence: 1, status: 'READY', at: now });
      },
    },
  };
}

const empty = () => Promise.resolve({ items: [], next: null });
const nobody = { id: '1', login: 'ada', avatar_url: '', company: null, name: null, email: null };
/** A git provider that knows every token and has nothing. */
const EMPTY_GIT_HOST = {
  supports: () => true,
  verify: () => Promise.resolve(true),
  open: () => ({
    provider: 'github',
    currentUser: () => Promise.resolve(nobody),
    installations: empty,
    repositories: empty,
    branches: empty,
    searchRepositories: () => Promise.resolve([]),
    searchBranches: () => Promise.resolve([]),
    suggestedTasks: () => Promise.resolve([]),
    repository: () => Promise.resolve({ pushed_at: null }),
    isPullRequestOpen: () => Promise.resolve(true),
    listFolder: () => Promise.resolve([]),
    readFile: () => Promise.resolve('content'),
  }),
};
