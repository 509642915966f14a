/** Conversations that write microagents, without those whose pull requests are closed (contract 16.2). */
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { createConversationViews } from '../../api/conversation-view.js';
import { legacyListRoutes } from '../../api/legacy/conversation-list-routes.js';
import { createOpenPullRequests } from '../../api/legacy/open-pull-requests.js';
import { createLiveStatus } from '../../api/live-status.js';
import type { LegacyConversation } from '../../contract/legacy-conversation.js';
import type { GitProvider } from '../../contract/primitives.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import type { DatabaseConnection } from '../../db/database.js';
import { GitProviderClients } from '../../git-providers/clients.js';
import type { GitProviderClient } from '../../git-providers/git-provider-client.js';
import { ProviderHandler } from '../../git-providers/provider-handler.js';
import { NO_TOKENS, type AuthStrategy } from '../../identity/auth-strategy.js';
import type { ProviderToken, UserContext } from '../../identity/user-context.js';
import { testVault } from '../support/test-vault.js';
import { openTestDatabase } from '../support/database.js';
import { httpFor } from '../support/git-hosts/fake-git-host.js';
import { GITHUB_TOKEN, GitHubHost } from '../support/git-hosts/github-host.js';
import { insertConversation } from '../support/rows.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const PATH = '/api/microagent-management/conversations?selected_repository=acme/rocket-1';

let connection: DatabaseConnection;
let conversations: ConversationReadModel;
let github: GitHubHost;
let server: TestServer;
let tokens: Map<GitProvider, ProviderToken>;
/** Every test has a user of its own, of whom nothing is remembered. */
let userId = 'user-0';
let users = 0;
const warnings: object[] = [];

const auth: AuthStrategy = {
  authenticate: () =>
    Promise.resolve({
      userId,
      authType: 'bearer',
      tokens: {
        get: (provider) => Promise.resolve(tokens.get(provider) ?? null),
        getAll: () => Promise.resolve(tokens),
      },
    }),
};

beforeAll(async () => {
  [connection, github] = await Promise.all([openTestDatabase(), new GitHubHost().listen()]);
  conversations = new ConversationReadModel(connection.database);
  const clients = new GitProviderClients({ http: httpFor(github) });
  const quiet = pino({ level: 'silent' });
  const agentServers = createAgentServerAccess({
    vault: testVault,
    connect: () => {
      throw new Error('no sandbox runs');
    },
    logger: quiet,
  });
  const logger = { warn: (details: object) => void warnings.push(details) };
  server = await startTestServer(
    legacyListRoutes({
      conversations,
      views: createConversationViews({
        agentServers,
        liveStatus: createLiveStatus({ agentServers, logger: quiet }),
      }),
      openPullRequests: createOpenPullRequests({
        providersOf: (user: UserContext) => new ProviderHandler(user.tokens, clients, logger),
        logger,
        limitMs: 60_000,
      }),
    }),
    { auth },
  );
});
afterAll(async () => {
  await server.close();
  await github.close();
  await connection.close();
});
beforeEach(() => {
  users += 1;
  userId = `user-${users}`;
  github.asked();
  github.instead.splice(0);
  github.pulls = { 1: 'open', 2: 'closed' };
  warnings.splice(0);
  tokens = new Map([['github', { token: GITHUB_TOKEN, host: github.url, userId: null }]]);
});

let made = 0;
const add = (prNumber: number[], gitProvider: GitProvider | null = 'github') =>
  insertConversation(connection.database, {
    createdByUserId: userId,
    selectedRepository: 'acme/rocket-1',
    trigger: 'microagent_management',
    gitProvider,
    prNumber,
    createdAt: new Date((made += 1)),
  });

async function list(query = '') {
  const response = await server.fetch(`${PATH}${query}`);
  const body = (await response.json()) as { results: LegacyConversation[]; next_page_id: string | null };
  expect(response.status).toBe(200);
  return { ids: body.results.map(({ conversation_id: id }) => id), next: body.next_page_id };
}

describe('the list of conversations that write microagents', () => {
  it('leaves out those whose last pull request is closed', async () => {
    const kept = [await add([]), await add([1]), await add([2, 1]), await add([2], null)];
    await add([2]);
    await add([1, 2]);
    expect((await list()).ids).toEqual(kept.toReversed());
  });

  it('asks about each pull request once, however often and by however many conversations it is asked for', async () => {
    const kept = await add([1]);
    await add([2]);
    await add([2]);
    for (let times = 0; times < 3; times++) expect((await list()).ids).toEqual([kept]);
    expect(github.asked().sort()).toEqual([1, 2].map((n) => `GET /api/v3/repos/acme/rocket-1/pulls/${n}`));
  });

  it('asks about those of one page alone, and goes on where a page ends', async () => {
    const kept = await add([1]);
    await add([2]);
    const first = await list('&limit=1');
    expect(first.ids).toEqual([]);
    expect(github.asked()).toEqual(['GET /api/v3/repos/acme/rocket-1/pulls/2']);
    expect(await list(`&limit=1&page_id=${first.next ?? ''}`)).toEqual({ ids: [kept], next: null });
  });

  it.each([
    [401, {}],
    [403, { 'X-RateLimit-Remaining': '0' }],
    [429, {}],
    [500, {}],
  ])('keeps all when the provider answers with status %i, and leaves it alone', async (status, headers) => {
    const kept: string[] = [];
    for (let number = 10; number < 30; number++) kept.push(await add([number]));
    for (let times = 0; times < 20; times++) github.instead.push({ status, headers });
    expect((await list()).ids).toEqual(kept.toReversed());
    expect(github.asked().length).toBeLessThan(20);
    expect(warnings).toHaveLength(1);
    github.asked();
    expect((await list()).ids).toHaveLength(20);
    expect(github.asked()).toEqual([]);
  });

  it('keeps those that the provider does not have or does not show, and asks about the others', async () => {
    const kept = await add([404]);
    await add([2]);
    expect((await list()).ids).toEqual([kept]);
    expect(warnings).toEqual([]);
  });

  it('keeps all of a provider that is not connected', async () => {
    tokens.clear();
    const kept = await add([2]);
    expect((await list()).ids).toEqual([kept]);
    expect(github.asked()).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('keeps all of a provider that does not answer in time', async () => {
    await add([2]);
    const silent = { isPullRequestOpen: () => new Promise<boolean>(() => undefined) };
    const openPullRequests = createOpenPullRequests({
      providersOf: () => ({ client: () => Promise.resolve(silent as unknown as GitProviderClient) }),
      logger: { warn: () => undefined },
      limitMs: 20,
    });
    const { records } = await conversations.search([userId], {}, { limit: 5 });
    expect(records).toHaveLength(1);
    expect(await openPullRequests({ userId, authType: 'bearer', tokens: NO_TOKENS }, records)).toEqual(
      records,
    );
  });
});
