import { eq } from 'drizzle-orm';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiKeys } from '../../db/schema/index.js';
import { AccessTokens } from '../../identity/access-token.js';
import {
  AUTHORIZATION,
  BESIDE_THE_DOCUMENT,
  CALLERS,
  type AuthorizationRow,
  type Caller,
} from '../../scripts/authorization-table.js';
import { discoveryServer } from '../support/discovery-server.js';
import { FakeSocketServer } from '../support/fake-socket-server.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { obedientParts } from '../support/obedient-parts.js';
import { oneOfEach, type Things } from '../support/one-of-each.js';
import { addOrganization, addPerson, MULTI_USER, signedIn } from '../support/people.js';
import { Refused, SocketClient } from '../support/socket-client.js';

const SERVICE_KEY = 'shared secret of the automations';
/** In the title of each conversation of the owner: strangers never read it. */
const MARK = 'seen by members only';

let provider: Server;
let agentServer: FakeSocketServer;
let server: IdentityServer;
let organization: string;
let expiredKey: string;

beforeAll(async () => {
  provider = await discoveryServer();
  agentServer = await new FakeSocketServer().listen();
  agentServer.onSocket = (socket) => socket.send('welcome');
  const { port } = provider.address() as AddressInfo;
  server = await startIdentityServer(
    {
      ...MULTI_USER,
      OIDC_DISCOVERY_URL: `http://127.0.0.1:${port}/.well-known/openid-configuration`,
      AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY,
      CALLBOARD_OPERATOR_KEY: 'the key of an operator of this server',
    },
    undefined,
    obedientParts,
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
  await agentServer.close();
  await new Promise((resolve) => provider.close(resolve));
});

const database = () => server.core.connection.database;

/** One of each thing of the owner, with nothing done to it yet. */
const newThings = (agentServerUrl: string) =>
  oneOfEach(server, { userId: 'ada', organizationId: organization, agentServerUrl, title: MARK });

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

/** The status of a handshake that is refused; of others, whether the agent-server is reached or a key is asked for. */
async function openSocket(
  { route }: AuthorizationRow,
  things: Things,
  headers: Record<string, string>,
): Promise<{ status: number; text: string }> {
  const url = `${server.url}${filled(route.replace('SOCKET ', ''), things)}`;
  try {
    const client = await SocketClient.open(url, { headers: { Origin: server.url, ...headers } });
    client.socket.send('{"type":"auth","session_api_key":""}');
    const welcomed = new Promise<number>((resolve) => client.socket.once('message', () => resolve(101)));
    // What came with the handshake is there already.
    const status = client.frames.length > 0 ? 101 : await Promise.race([welcomed, client.closed]);
    client.socket.terminate();
    return { status: typeof status === 'number' ? status : status.code, text: client.texts.join('') };
  } catch (error) {
    if (error instanceof Refused) return { status: error.status, text: error.body };
    throw error;
  }
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

  const check = async (
    row: AuthorizationRow,
    agentServerUrl: string,
    request: (...parameters: Parameters<typeof send>) => ReturnType<typeof send>,
  ) => {
    const things = await newThings(agentServerUrl);
    const answered: Partial<Record<Caller, number[]>> = {};
    const ask = async (caller: Caller) => {
      const attempts = (answered[caller] = [] as number[]);
      for (const headers of await shownBy(caller, things)) {
        const { status, text } = await request(row, things, headers);
        attempts.push(status);
        if (!MEMBERS.has(caller)) expect(text).not.toContain(MARK);
        if (status !== 200) expect(text).not.toMatch(/the (value|token|key) of a/);
      }
    };
    for (const callers of ORDER) {
      if (callers.includes('paused')) await things.pause(true);
      if (callers.includes('running')) await things.pause(false);
      await Promise.all(callers.map(ask));
    }
    const expected = Object.fromEntries(
      Object.entries(row.expected).map(([caller, statuses]) => [
        caller,
        typeof statuses === 'number' ? answered[caller as Caller]?.map(() => statuses) : statuses,
      ]),
    );
    expect(answered).toEqual(expected);
  };

  it.each(AUTHORIZATION)('$route answers each caller as the table says', (row) =>
    // Where it has no part in the answer no agent-server listens.
    check(row, row.isShared ? agentServer.url : 'http://127.0.0.1:9', send),
  );

  it.each(BESIDE_THE_DOCUMENT)('$route answers each caller as the table says', (row) =>
    check(row, agentServer.url, row.route.startsWith('SOCKET ') ? openSocket : send),
  );

  it('of the gateway gives nothing of a caller to the agent-server but the key of the sandbox', () => {
    const seen = [...agentServer.requests, ...agentServer.handshakes];
    expect(seen.length).toBeGreaterThan(0);
    for (const { headers } of seen) {
      expect(headers['x-session-api-key']).toMatch(/^session key /);
      for (const name of ['cookie', 'authorization', 'x-access-token', 'x-service-api-key', 'x-api-key']) {
        expect(headers).not.toHaveProperty(name);
      }
    }
  });
});
