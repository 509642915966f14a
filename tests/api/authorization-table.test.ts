import { eq } from 'drizzle-orm';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServerMonitor } from '../../api/server-info.js';
import { StreamRegistry } from '../../api/start-stream.js';
import type { Core } from '../../cli/core.js';
import {
  apiKeys,
  pendingMessages,
  startRequests,
  startTasks,
  startTaskTransitions,
} from '../../db/schema/index.js';
import { AccessTokens } from '../../identity/access-token.js';
import { lookupHash, purposes } from '../../identity/vault.js';
import {
  AUTHORIZATION,
  CALLERS,
  type AuthorizationRow,
  type Caller,
} from '../../scripts/authorization-table.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { addOrganization, addPerson, MULTI_USER, signedIn } from '../support/people.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';
import { listen } from '../support/loopback.js';

const SERVICE_KEY = 'shared secret of the automations';
/** In the title of each conversation of the owner: strangers never read it. */
const MARK = 'seen by members only';

let provider: Server;
let server: IdentityServer;
let organization: string;
let expiredKey: string;

beforeAll(async () => {
  provider = await identityProvider();
  const { port } = provider.address() as AddressInfo;
  server = await startIdentityServer(
    {
      ...MULTI_USER,
      OIDC_DISCOVERY_URL: `http://127.0.0.1:${port}/.well-known/openid-configuration`,
      AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY,
      CALLBOARD_OPERATOR_KEY: 'the key of an operator of this server',
    },
    undefined,
    standIns,
  );
  organization = await addOrganization(server, 'engines');
  await addPerson(server, 'ada', organization);
  await addPerson(server, 'colleague', organization);
  await addPerson(server, 'stranger', await addOrganization(server, 'others'));
  const { id, key } = await server.identity.apiKeys.create(
    { userId: 'ada', organizationId: null },
    { name: 'expired', expiresAt: null },
  );
  expiredKey = key;
  await database()
    .update(apiKeys)
    .set({ expiresAt: new Date(0) })
    .where(eq(apiKeys.id, id));
});
afterAll(async () => {
  await server.close();
  await new Promise((resolve) => provider.close(resolve));
});

const database = () => server.core.connection.database;

/** As much of a provider as sending browsers to it needs. */
async function identityProvider(): Promise<Server> {
  const at = MULTI_USER.OIDC_ISSUER;
  const about = {
    issuer: at,
    authorization_endpoint: `${at}/auth`,
    token_endpoint: `${at}/token`,
    jwks_uri: `${at}/keys`,
  };
  const listening = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(about));
  });
  await listen(listening);
  return listening;
}

/** Orders are obeyed at once, starts are ready at once, messages are delivered at once. */
function standIns({ connection }: Core): Record<string, unknown> {
  const done = () => Promise.resolve();
  return {
    monitor: new ServerMonitor('/tmp'),
    streams: new StreamRegistry(),
    hub: { subscribe: () => () => undefined },
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
        const [request] = await connection.database
          .select()
          .from(startRequests)
          .where(eq(startRequests.id, taskId));
        if (!request) throw new Error('the request is not stored');
        const { id, conversationId, createdByUserId } = request;
        const now = new Date();
        await connection.database
          .insert(startTasks)
          .values({ id, conversationId, createdByUserId, status: 'READY', createdAt: now, updatedAt: now });
        await connection.database
          .insert(startTaskTransitions)
          .values({ taskId, sequence: 1, status: 'READY', at: now });
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
    listFolder: () => Promise.resolve([]),
    readFile: () => Promise.resolve('content'),
  }),
};

/** One of each thing of the owner, with nothing done to it yet. */
async function newThings() {
  const key = `session key ${newId()}`;
  const { vault, secrets } = server.core;
  const sandboxId = newId();
  await insertSandbox(database(), {
    id: sandboxId,
    createdByUserId: 'ada',
    agentServerUrl: 'http://127.0.0.1:9', // where nothing listens
    workingDirectory: '/workspace/project',
    sessionApiKeyHash: lookupHash(key),
    sessionApiKey: await vault.seal(purposes.sessionKey(sandboxId), key),
    secretKey: await vault.seal(purposes.secretKey(sandboxId), 'the secret key of a sandbox'),
  });
  const conversationId = await insertConversation(database(), {
    sandboxId,
    createdByUserId: 'ada',
    title: MARK,
  });
  const taskId = await insertStartTask(database(), { createdByUserId: 'ada', status: 'ERROR' });
  const messageId = randomUUID();
  const now = new Date();
  await database()
    .insert(pendingMessages)
    .values({ id: messageId, conversationId, content: '[]', bytes: 2, createdAt: now, updatedAt: now });
  await secrets.putCustom('ada', { name: 'A_SECRET', value: 'the value of a secret' });
  await secrets.replaceProviderTokens(
    'ada',
    new Map([['github' as const, { token: 'the token of ada', host: null, userId: null }]]),
  );
  await server.core.settings.update('ada', (stored) => ({ ...stored, language: 'en' }));
  const owner = { userId: 'ada', organizationId: organization };
  const ofUser = await server.identity.apiKeys.create(owner, { name: 'x', expiresAt: null });
  await server.identity.apiKeys.getOrCreateSystem({ ...owner, name: 'existing' });
  return {
    sessionKey: key,
    parameters: {
      sandbox_id: sandboxId,
      conversation_id: conversationId,
      task_id: taskId,
      message_id: messageId,
      secret_id: 'A_SECRET',
      secret_name: 'A_SECRET',
      key_id: ofUser.id,
      user_id: 'ada',
      org_id: organization,
      key_name: 'existing',
    } as Record<string, string>,
    /** The same sandbox, paused, or the same again running. */
    pause: (paused: boolean) => server.core.sandboxes.setStatus(sandboxId, paused ? 'PAUSED' : 'RUNNING'),
  };
}
type Things = Awaited<ReturnType<typeof newThings>>;

const accessToken = (userId: string, ageDays = 0) =>
  new AccessTokens(server.core.keys).issue(
    { userId, providerType: 'github' },
    new Date(Date.now() - ageDays * 24 * 3_600_000),
  );

/** What each caller shows; several ways to be wrong or late are tried one after the other. */
async function shownBy(caller: Caller, { sessionKey }: Things): Promise<Record<string, string>[]> {
  const person = async (id: string, active: string | null) => [
    { Cookie: await signedIn(server, id, active), 'X-Access-Token': await accessToken(id) },
  ];
  switch (caller) {
    case 'none':
      return [{}];
    case 'wrong':
      return [
        {
          Cookie: 'callboard_session=made.up.cookie',
          'X-Access-Token': 'made.up.token',
          'X-Session-API-Key': 'made up',
          'X-Service-API-Key': 'made up',
        },
        { Authorization: `Bearer cbk_${'0'.repeat(43)}` },
        { 'X-API-Key': 'made up', Authorization: 'Basic bWFkZTp1cA==' },
      ];
    case 'expired':
      return [
        {
          Cookie: await signedIn(server, 'ada', organization, 25),
          'X-Access-Token': await accessToken('ada', 15),
        },
        { Authorization: `Bearer ${expiredKey}` },
      ];
    case 'stranger':
      return person('stranger', null);
    case 'colleague':
      return person('colleague', organization);
    case 'owner':
      return person('ada', organization);
    case 'running':
    case 'paused':
      return [{ 'X-Session-API-Key': sessionKey }];
    case 'service':
      return [{ 'X-Service-API-Key': SERVICE_KEY }];
  }
}

const filled = (text: string, { parameters }: Things): string =>
  text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => parameters[name] ?? whole);

async function send(
  { route, query, body }: AuthorizationRow,
  things: Things,
  headers: Record<string, string>,
) {
  const [method = '', path = ''] = route.split(' ');
  const response = await fetch(
    `${server.url}${filled(path, things)}${query === undefined ? '' : `?${filled(query, things)}`}`,
    {
      method,
      redirect: 'manual',
      // As the browser of a page of this server says it.
      headers: {
        'Sec-Fetch-Site': 'same-origin',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: filled(JSON.stringify(body), things) }),
    },
  );
  return { status: response.status, text: await response.text() };
}

/**
 * One group after the other: what some are refused must still be there for the next ones, the sandbox pauses once, and
 * the owner's order may end it all.
 */
const ORDER: readonly (readonly Caller[])[] = [
  ['none', 'wrong', 'expired', 'stranger', 'colleague', 'service'],
  ['paused'],
  ['running'],
  ['owner'],
];
const MEMBERS: ReadonlySet<Caller> = new Set(['colleague', 'owner', 'running', 'paused']);

describe('every route', () => {
  it('is in the table, and every row of the table is a route', async () => {
    const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const served = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(AUTHORIZATION.map(({ route }) => route).sort()).toEqual(served.sort());
    expect(ORDER.flat().sort()).toEqual(Object.keys(CALLERS).sort());
  });

  it.each(AUTHORIZATION)('$route answers each caller as the table says', async (row) => {
    const things = await newThings();
    const answered: Partial<Record<Caller, number>> = {};
    const ask = async (caller: Caller) => {
      for (const headers of await shownBy(caller, things)) {
        const { status, text } = await send(row, things, headers);
        // Of several attempts the one that is not as expected is told.
        if (answered[caller] === undefined || status !== row.expected[caller]) answered[caller] = status;
        if (!MEMBERS.has(caller)) expect(text).not.toContain(MARK);
        if (status !== 200) expect(text).not.toMatch(/the (value|token) of a/);
      }
    };
    for (const callers of ORDER) {
      if (callers.includes('paused')) await things.pause(true);
      if (callers.includes('running')) await things.pause(false);
      await Promise.all(callers.map(ask));
    }
    expect(answered).toEqual(row.expected);
  });
});
