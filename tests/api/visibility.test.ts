/** What members of an organization see of each other, asked by browsers that signed in at a real OpenID Connect provider. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StartTask } from '../../contract/start-task.js';
import { createNotificationHub, type NotificationHub } from '../../db/notifications.js';
import { incomingEvent } from '../../events/incoming-event.js';
import { lookupHash, purposes } from '../../identity/vault.js';
import { Browser } from '../support/browser.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { FakeSocketServer } from '../support/fake-socket-server.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { obedientParts } from '../support/obedient-parts.js';
import { OIDC_CLIENT, OidcServer } from '../support/oidc-server.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';
import { Refused, SocketClient } from '../support/socket-client.js';

const KEY = 'the session key of a sandbox';
/** Everybody's organizations. */
const PEOPLE = { owner: ['acme'], colleague: ['/acme'], other: ['umbrella'], loner: [] } as const;
type Person = keyof typeof PEOPLE;
const EVERYBODY = Object.keys(PEOPLE) as Person[];

let provider: OidcServer;
let database: TestDatabase;
let hub: NotificationHub;
let server: IdentityServer;
let agentServer: FakeSocketServer;
const browsers = new Map<Person, Browser>();
const things = { sandbox: newId(), conversation: '', task: '', event: randomUUID() };

beforeAll(async () => {
  provider = await new OidcServer().listen();
  database = await createTestDatabase();
  hub = createNotificationHub({ url: database.url, logger: pino({ level: 'silent' }) });
  agentServer = await new FakeSocketServer().listen();
  server = await startIdentityServer(
    {
      OPENHANDS_AUTH_MODE: 'mu',
      OIDC_ISSUER: provider.url,
      OIDC_CLIENT_ID: OIDC_CLIENT.id,
      OIDC_CLIENT_SECRET: OIDC_CLIENT.secret,
      OIDC_SCOPES: 'openid profile email groups',
      OIDC_ORGANIZATIONS_CLAIM: 'groups',
    },
    database,
    (core) => ({ ...obedientParts(core), hub }),
  );
  await provider.serve(server.url);
  for (const name of EVERYBODY) browsers.set(name, await signedIn(name));

  const rows = server.core.connection.database;
  await insertSandbox(rows, {
    id: things.sandbox,
    createdByUserId: 'owner',
    agentServerUrl: agentServer.url,
    exposedUrls: [{ name: 'AGENT_SERVER', url: agentServer.url, port: agentServer.port }],
    sessionApiKeyHash: lookupHash(KEY),
    sessionApiKey: await server.core.vault.seal(purposes.sessionKey(things.sandbox), KEY),
  });
  things.conversation = await insertConversation(rows, {
    sandboxId: things.sandbox,
    createdByUserId: 'owner',
    title: 'of the owner',
  });
  things.task = await insertStartTask(rows, { createdByUserId: 'owner', status: 'ERROR' });
  const event = { id: things.event, kind: 'MessageEvent', timestamp: '2026-01-01T12:00:00' };
  await server.core.events.ingest(things.conversation, [incomingEvent(event)]);
  await server.core.secrets.putCustom('owner', { name: 'OWNERS_SECRET', value: 'a value' });
});
afterAll(async () => {
  await server.close();
  await hub.stop();
  await database.drop();
  await agentServer.close();
  await provider.close();
});

async function signedIn(name: Person): Promise<Browser> {
  provider.people.set(name, { preferred_username: name, groups: [...PEOPLE[name]] });
  provider.visitor = name;
  const browser = new Browser();
  await browser.visit(`${server.url}/api/auth/login`, {}, (next) => next === `${server.url}/`);
  return browser;
}

const browserOf = (name: Person): Browser => browsers.get(name) ?? new Browser();
const filled = (path: string): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name: keyof typeof things) => things[name]);
const get = async (name: Person, path: string) => browserOf(name).request(`${server.url}${filled(path)}`);
const order = (name: Person, route: string, body?: unknown) => {
  const [method = '', path = ''] = route.split(' ');
  return browserOf(name).request(`${server.url}${filled(path)}`, {
    method,
    headers: { Origin: server.url, ...(body ? { 'Content-Type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
};
const ofEverybody = async <T>(ask: (name: Person) => Promise<T>): Promise<Record<string, T>> =>
  Object.fromEntries(await Promise.all(EVERYBODY.map(async (name) => [name, await ask(name)] as const)));

const MEMBERS_ONLY = { owner: true, colleague: true, other: false, loner: false };
const V1 = '/api/v1';
const STARTS = `${V1}/app-conversations/start-tasks`;

describe('a member’s thing is seen by the organization and by nobody else:', () => {
  it.each<[string, string]>([
    [`${V1}/app-conversations/search`, '{conversation}'],
    [`${V1}/app-conversations?ids={conversation}`, '{conversation}'],
    [`${STARTS}/search`, '{task}'],
    [`${STARTS}?ids={task}`, '{task}'],
    [`${V1}/events/search?conversation_id__eq={conversation}`, '{event}'],
    [`${V1}/events/search`, '{event}'],
    [`${V1}/events?id={event}`, '{event}'],
    [`${V1}/conversation/{conversation}/events/search`, '{event}'],
    [`${V1}/conversation/{conversation}/events?id={event}`, '{event}'],
    [`${V1}/sandboxes/search`, '{sandbox}'],
    [`${V1}/sandboxes?id={sandbox}`, '{sandbox}'],
  ])('GET %s', async (path, shown) => {
    const seen = await ofEverybody(async (name) => {
      const { status, text } = await get(name, path);
      expect(status).toBe(200);
      // Ids come with and without dashes.
      return text.replaceAll('-', '').includes(filled(shown).replaceAll('-', ''));
    });
    expect(seen).toEqual(MEMBERS_ONLY);
  });

  it.each([
    `${V1}/app-conversations/count`,
    `${STARTS}/count`,
    `${V1}/events/count`,
    `${V1}/conversation/{conversation}/events/count`,
  ])('GET %s', async (path) => {
    const counted = await ofEverybody(async (name) => (await get(name, path)).text);
    expect(counted).toEqual({ owner: '1', colleague: '1', other: '0', loner: '0' });
  });

  it('the key of its sandbox by its owner alone', async () => {
    const keys = await ofEverybody(async (name) => {
      const [sandbox, conversation] = await Promise.all([
        get(name, `${V1}/sandboxes?id={sandbox}`),
        get(name, `${V1}/app-conversations?ids={conversation}`),
      ]);
      return [sandbox.text.includes(KEY), conversation.text.includes(KEY)];
    });
    const none = [false, false];
    expect(keys).toEqual({ owner: [true, true], colleague: none, other: none, loner: none });
  });

  it('secrets by their owner alone', async () => {
    const listed = await ofEverybody(async (name) =>
      (await get(name, `${V1}/secrets/search`)).text.includes('OWNERS_SECRET'),
    );
    expect(listed).toEqual({ owner: true, colleague: false, other: false, loner: false });
  });

  it('the socket of a conversation, whose frames colleagues read and cannot write', async () => {
    const open = (name: Person) => {
      const cookies = [...browserOf(name).cookies(server.url)].map(([key, value]) => `${key}=${value}`);
      return SocketClient.open(`${server.url}/sockets/events/${things.conversation}`, {
        headers: { Cookie: cookies.join('; '), Origin: server.url },
      });
    };
    for (const name of ['other', 'loner'] as const) {
      const refused = await open(name).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Refused);
      expect(refused).toMatchObject({ status: 404 });
    }
    expect(agentServer.handshakes).toHaveLength(0);
    const [owner, colleague] = [await open('owner'), await open('colleague')];
    for (const socket of agentServer.sockets) socket.send('{"id":"told"}');
    colleague.socket.send('{"role":"user","content":[{"type":"text","text":"of the colleague"}]}');
    await vi.waitFor(() => expect(colleague.texts).toHaveLength(2), 90_000);
    expect(JSON.parse(colleague.texts[1] ?? '')).toMatchObject({ code: 'ReadOnly' });
    owner.socket.send('{"role":"user","content":[{"type":"text","text":"of the owner"}]}');
    await vi.waitFor(() => expect(agentServer.received).toHaveLength(1), 90_000);
    expect(agentServer.received[0]).toContain('of the owner');
    expect(owner.texts).toEqual(['{"id":"told"}']);
    owner.socket.terminate();
    colleague.socket.terminate();
  });
});

describe('what somebody starts is their own, whoever sees it:', () => {
  it.each<[string, (text: string) => StartTask]>([
    ['', (text) => JSON.parse(text) as StartTask],
    ['/stream-start', (text) => (JSON.parse(text) as StartTask[]).at(-1)!],
  ])('POST /app-conversations%s', async (path, taskOf) => {
    const answer = await order('colleague', `POST ${V1}/app-conversations${path}`, {});
    expect(answer.status).toBe(200);
    const { id, created_by_user_id: author } = taskOf(answer.text);
    expect(author).toBe('colleague');
    const seen = await ofEverybody(
      async (name) =>
        (JSON.parse((await get(name, `${STARTS}?ids=${id}`)).text) as (StartTask | null)[])[0]
          ?.created_by_user_id,
    );
    expect(seen).toEqual({ owner: 'colleague', colleague: 'colleague', other: undefined, loner: undefined });
  });

  it.each(['', '/stream-start'])(
    'POST /app-conversations%s takes no parent conversation of somebody else',
    async (path) => {
      const refused = await ofEverybody(async (name) => {
        if (name === 'owner') return 200;
        const body = { parent_conversation_id: things.conversation };
        return (await order(name, `POST ${V1}/app-conversations${path}`, body)).status;
      });
      expect(refused).toEqual({ owner: 200, colleague: 403, other: 404, loner: 404 });
    },
  );
});

describe('orders are for the author alone:', () => {
  const message = { role: 'user', content: [{ type: 'text', text: 'hello' }] };
  const CONVERSATION = `${V1}/app-conversations/{conversation}`;
  // In this order, so that the owner's own orders leave what the next ones need.
  it.each<[string, unknown, number]>([
    [`PATCH ${CONVERSATION}`, { title: 'changed' }, 200],
    [`POST ${CONVERSATION}/send-message`, message, 200],
    [`POST ${V1}/conversations/{conversation}/pending-messages`, message, 201],
    [`POST ${STARTS}/{task}/retry`, undefined, 200],
    [`POST ${V1}/sandboxes/{sandbox}/pause`, undefined, 200],
    [`POST ${V1}/sandboxes/{sandbox}/resume`, undefined, 200],
    [`DELETE ${CONVERSATION}`, undefined, 200],
    [`DELETE ${V1}/sandboxes/{sandbox}`, undefined, 200],
  ])('%s', async (route, body, status) => {
    const refused: Record<string, number> = {};
    for (const name of ['colleague', 'other', 'loner'] as const) {
      refused[name] = (await order(name, route, body)).status;
    }
    expect(refused).toEqual({ colleague: 403, other: 404, loner: 404 });
    expect((await order('owner', route, body)).status).toBe(status);
  });
});
