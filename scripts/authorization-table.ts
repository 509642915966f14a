/**
 * Who gets what from which route: `tests/api/authorization-table.test.ts` asks every route as every one of these
 * callers, and `docs/security.md` shows the table. A route that is not in it fails the test.
 */
import { RETIRED } from '../api/legacy/retired-routes.js';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Callers, in the order of the columns, and what the page says of them. */
export const CALLERS = {
  none: 'no credentials',
  wrong: 'wrong ones',
  expired: 'expired ones',
  stranger: 'another user',
  colleague: 'another user, same organization',
  owner: 'owner',
  running: 'session key of a running sandbox of the owner',
  paused: 'session key of a paused one',
  service: 'service key',
} as const;
export type Caller = keyof typeof CALLERS;

/** A status; several where several ways to be wrong, in the order in which the test tries them, are answered differently. */
export type Expected = number | readonly number[];

export interface AuthorizationRow {
  /** `METHOD path`, the path as in the OpenAPI document; `SOCKET path` for a WebSocket. */
  route: string;
  expected: Record<Caller, Expected>;
  /** What the test sends; parameters in braces are the owner's things. */
  query?: string;
  body?: unknown;
  /** Answered by the agent-server for whoever shows the key of its sandbox. */
  isShared?: true;
}

type Sent = Pick<AuthorizationRow, 'query' | 'body'>;
type People = 'stranger' | 'colleague' | 'owner';

const everybody = (status: number): Record<Caller, number> => ({
  none: status,
  wrong: status,
  expired: status,
  stranger: status,
  colleague: status,
  owner: status,
  running: status,
  paused: status,
  service: status,
});

/** Routes for users: no key of a sandbox or of a service opens them. */
const user = (route: string, people: Record<People, number>, sent: Sent = {}): AuthorizationRow => ({
  route,
  expected: { ...everybody(401), ...people },
  ...sent,
});
/** Lists, and what is everybody's own: the answer is about the caller. */
const own = (route: string, sent: Sent = {}, status = 200): AuthorizationRow =>
  user(route, { stranger: status, colleague: status, owner: status }, sent);
/** Members of the organization see it, and only the owner gives it orders. */
const ordered = (route: string, sent: Sent = {}, status = 200): AuthorizationRow =>
  user(route, { stranger: 404, colleague: 403, owner: status }, sent);
/** Members of the organization see it, and change nothing by it. */
const shared = (route: string, sent: Sent = {}, status = 200): AuthorizationRow =>
  user(route, { stranger: 404, colleague: status, owner: status }, sent);
/** Not even members of the organization know of it. */
const secret = (route: string, sent: Sent = {}): AuthorizationRow =>
  user(route, { stranger: 404, colleague: 404, owner: 200 }, sent);
/** With the caller's own git token, which the owner has stored and the others have not. */
const connected = (route: string, unconnected: number, sent: Sent = {}): AuthorizationRow =>
  user(route, { stranger: unconnected, colleague: unconnected, owner: 200 }, sent);
const open = (route: string, status = 200): AuthorizationRow => ({ route, expected: everybody(status) });
/** By the session key of a sandbox and nothing else. */
const sandbox = (route: string, paused: number, sent: Sent = {}): AuthorizationRow => ({
  route,
  expected: { ...everybody(401), running: 200, paused },
  ...sent,
});
const service = (route: string, sent: Sent = {}): AuthorizationRow => ({
  route,
  expected: { ...everybody(401), service: 200 },
  ...sent,
});

const V1 = '/api/v1';
const conversation = `${V1}/app-conversations/{conversation_id}`;
const pending = `${V1}/conversations/{conversation_id}/pending-messages`;
const message = { role: 'user', content: [{ type: 'text', text: 'hello' }] };
const byConversation = { query: 'conversation_id__eq={conversation_id}' };
const legacy = '/api/conversations/{conversation_id}';
/** Members of the organization look at it too. */
const seen = (route: string): AuthorizationRow => user(route, { stranger: 404, colleague: 200, owner: 200 });
/** Agent-servers have routes of the same names: the key of a sandbox leads there (docs/gateway.md). */
const sharedWithAgentServer = (row: AuthorizationRow): AuthorizationRow => ({
  ...row,
  expected: { ...row.expected, running: 200, paused: 409 },
  isShared: true,
});
const newSecret = { body: { name: 'NEW', value: 'x' } };
const record = { id: '{conversation_id}', agent: { llm: { model: 'm' } }, workspace: {} };

/** Routes of the API itself, as its OpenAPI document names them. */
export const AUTHORIZATION: readonly AuthorizationRow[] = [
  own(`GET ${V1}/app-conversations/search`),
  own(`GET ${V1}/app-conversations/count`),
  own(`GET ${V1}/app-conversations`, { query: 'ids={conversation_id}' }),
  own(`POST ${V1}/app-conversations`, { body: {} }),
  own(`POST ${V1}/app-conversations/stream-start`, { body: {} }),
  ordered(`PATCH ${conversation}`, { body: { title: 'new' } }),
  ordered(`DELETE ${conversation}`),
  ordered(`POST ${conversation}/send-message`, { body: message }),
  // Others have no such profile of their own, which is looked for first.
  user(
    `POST ${conversation}/switch_profile`,
    { stranger: 404, colleague: 404, owner: 502 },
    { body: { profile_name: 'saved' } },
  ),
  ordered(`POST ${conversation}/switch_acp_model`, { body: { model: 'm' } }, 502),
  // In the test nothing listens at the address of the sandbox, hence 502.
  own(`GET ${conversation}/file`),
  shared(`GET ${conversation}/git/changes`, { query: 'path=.' }, 502),
  shared(`GET ${conversation}/git/diff`, { query: 'path=README.md' }, 502),
  shared(`GET ${conversation}/skills`),
  shared(`GET ${conversation}/hooks`, {}, 502),
  shared(`GET ${conversation}/download`),
  own(`GET ${V1}/app-conversations/start-tasks/search`),
  own(`GET ${V1}/app-conversations/start-tasks/count`),
  own(`GET ${V1}/app-conversations/start-tasks`, { query: 'ids={task_id}' }),
  shared(`GET ${V1}/app-conversations/start-tasks/stream`, { query: 'ids={task_id}' }),
  ordered(`POST ${V1}/app-conversations/start-tasks/{task_id}/retry`),
  ordered(`POST ${pending}`, { body: message }, 201),
  secret(`GET ${pending}`),
  secret(`DELETE ${pending}/{message_id}`),
  own(`GET ${V1}/events/search`, byConversation),
  own(`GET ${V1}/events/count`, byConversation),
  own(`GET ${V1}/events`, { query: 'id={conversation_id}' }),
  own(`GET ${V1}/conversation/{conversation_id}/events/search`),
  own(`GET ${V1}/conversation/{conversation_id}/events/count`),
  own(`GET ${V1}/conversation/{conversation_id}/events`, { query: 'id={conversation_id}' }),
  own(`GET ${V1}/sandboxes/search`),
  own(`GET ${V1}/sandboxes`, { query: 'id={sandbox_id}' }),
  own(`POST ${V1}/sandboxes`),
  ordered(`POST ${V1}/sandboxes/{sandbox_id}/pause`),
  ordered(`POST ${V1}/sandboxes/{sandbox_id}/resume`),
  ordered(`DELETE ${V1}/sandboxes/{sandbox_id}`),
  sandbox(`GET ${V1}/sandboxes/{sandbox_id}/settings/secrets`, 401),
  sandbox(`GET ${V1}/sandboxes/{sandbox_id}/settings/secrets/{secret_name}`, 401),
  own(`GET ${V1}/sandbox-specs/search`),
  own(`GET ${V1}/sandbox-specs`, { query: 'id=spec' }),
  // Before others store settings: without any, there is nothing to save.
  own(`GET ${V1}/settings/profiles`),
  secret(`GET ${V1}/settings/profiles/{name}`),
  user(`POST ${V1}/settings/profiles/{name}`, { stranger: 404, colleague: 404, owner: 201 }),
  own(`DELETE ${V1}/settings/profiles/{name}`),
  secret(`POST ${V1}/settings/profiles/{name}/activate`),
  secret(`POST ${V1}/settings/profiles/{name}/rename`, { body: { new_name: 'saved' } }),
  secret(`GET ${V1}/settings`),
  own(`POST ${V1}/settings`, { body: { language: 'en' } }),
  own(`GET ${V1}/settings/agent-schema`),
  own(`GET ${V1}/settings/conversation-schema`),
  own('GET /api/settings'),
  own('POST /api/settings', { body: { language: 'en' } }),
  own('POST /api/reset-settings', {}, 410),
  own(`GET ${V1}/secrets/search`),
  own(`POST ${V1}/secrets`, newSecret, 201),
  secret(`PUT ${V1}/secrets/{secret_id}`, { body: { name: 'A_SECRET' } }),
  secret(`DELETE ${V1}/secrets/{secret_id}`),
  own(`POST ${V1}/secrets/git-providers`, { body: { provider_tokens: { github: { token: 't' } } } }),
  own(`DELETE ${V1}/secrets/git-providers`),
  own('GET /api/secrets'),
  own('POST /api/secrets', { body: { name: 'OTHER', value: 'x' } }, 201),
  secret('PUT /api/secrets/{secret_id}', { body: { name: 'A_SECRET' } }),
  secret('DELETE /api/secrets/{secret_id}'),
  own('POST /api/add-git-providers', { body: { provider_tokens: { github: { token: 't' } } } }),
  own('POST /api/unset-provider-tokens'),
  own(`GET ${V1}/users/me`),
  connected(`GET ${V1}/users/git-info`, 403),
  connected(`GET ${V1}/git/installations/search`, 403, { query: 'provider=github' }),
  connected(`GET ${V1}/git/repositories/search`, 403, { query: 'provider=github' }),
  connected(`GET ${V1}/git/branches/search`, 403, { query: 'provider=github&repository=a/b&query=' }),
  connected(`GET ${V1}/git/suggested-tasks/search`, 403),
  connected('GET /api/user/info', 401),
  connected('GET /api/user/installations', 401, { query: 'provider=github' }),
  connected('GET /api/user/repositories', 401),
  connected('GET /api/user/search/repositories', 401, { query: 'query=x' }),
  connected('GET /api/user/search/branches', 401, { query: 'repository=a/b&query=x' }),
  connected('GET /api/user/suggested-tasks', 401),
  connected('GET /api/user/repository/branches', 401, { query: 'repository=a/b' }),
  own('GET /api/user/repository/{repository_name}/microagents'),
  own('GET /api/user/repository/{repository_name}/microagents/content', { query: 'file_path=a.md' }),
  own(`GET ${V1}/config/models/search`),
  own(`GET ${V1}/config/providers/search`),
  own(`GET ${V1}/skills/search`),
  own(`POST ${V1}/skills/marketplace-skills`, { body: [] }),
  own('GET /api/options/models'),
  own('GET /api/options/agents'),
  own('GET /api/options/security-analyzers'),
  own('GET /api/microagent-management/conversations', { query: 'selected_repository=a%2Fb' }),
  ...[
    own('GET /api/conversations'),
    own('POST /api/conversations', { body: { initial_user_msg: 'hello' } }),
    own(`GET ${legacy}`),
    ordered(`PATCH ${legacy}`, { body: { title: 'new' } }),
    user(`DELETE ${legacy}`, { stranger: 200, colleague: 403, owner: 200 }),
    seen(`GET ${legacy}/config`),
    seen(`GET ${legacy}/events`),
    seen(`GET ${legacy}/trajectory`),
    shared(`GET ${legacy}/git/changes`, { query: 'path=.' }, 502),
    shared(`GET ${legacy}/git/diff`, { query: 'path=.' }),
    shared(`GET ${legacy}/microagents`),
    ordered(`POST ${legacy}/start`),
    ordered(`POST ${legacy}/stop`),
    ordered(`POST ${legacy}/events`, { body: message }),
    ordered(`POST ${legacy}/message`, { body: { message: 'hello' } }),
    ordered(`GET ${legacy}/vscode-url`),
    ordered(`GET ${legacy}/web-hosts`),
    ...RETIRED.filter((one) => !one.open).map(({ route }) => own(route, {}, 404)),
  ].map(sharedWithAgentServer),
  own('GET /api/keys'),
  own('POST /api/keys', { body: { name: 'new' } }),
  secret('DELETE /api/keys/{key_id}'),
  own('GET /api/auth/session'),
  own('POST /api/authenticate'),
  own('POST /api/auth/logout-everywhere'),
  open('GET /api/auth/login', 303),
  open('GET /api/auth/callback', 400),
  open('POST /api/auth/logout'),
  open('POST /api/logout'),
  // By the signature of the identity provider alone.
  open('POST /api/auth/backchannel-logout', 400),
  {
    route: `GET ${V1}/webhooks/secrets`,
    expected: { ...everybody(401), stranger: 404, colleague: 404, owner: 200 },
  },
  sandbox(`POST ${V1}/webhooks/conversations`, 200, { body: record }),
  sandbox(`POST ${V1}/webhooks/{sandbox_id}/conversations`, 200, { body: record }),
  sandbox(`POST ${V1}/webhooks/events/{conversation_id}`, 200, { body: [] }),
  sandbox(`POST ${V1}/webhooks/{sandbox_id}/events/{conversation_id}`, 200, { body: [] }),
  open('GET /api/service/health'),
  service('POST /api/service/users/{user_id}/orgs/{org_id}/api-keys', { body: { name: 'nightly' } }),
  service('DELETE /api/service/users/{user_id}/orgs/{org_id}/api-keys/{key_name}'),
  { route: `POST ${V1}/temporal-codec/decode`, expected: everybody(401), body: { payloads: [] } },
  { route: `POST ${V1}/temporal-codec/encode`, expected: everybody(401), body: { payloads: [] } },
  { route: `GET ${V1}/temporal-codec/sign-in`, expected: everybody(401) },
  open(`GET ${V1}/web-client/config`),
  open('GET /api/options/config'),
  ...RETIRED.filter((one) => one.open).map(({ route }) => open(route, 404)),
  open('GET /alive'),
  open('GET /health'),
  open('GET /ready'),
  open('GET /server_info'),
];

/** Who has shown nothing is let in and asked by a frame; without a key in it the socket is closed with this. */
const NO_KEY_IN_FRAME = 4001;

/** What lies at an agent-server, by its session key alone: a browser's cookie opens nothing here. */
const passedOn = (route: string, without: number): AuthorizationRow => ({
  route,
  expected: { ...everybody(without), running: 200, paused: 409 },
});

/** By the session key, or as a user: from a page of this server, or by an API key. */
const socket = (path: string, people: Record<People, number>): AuthorizationRow => ({
  route: `SOCKET ${path}`,
  expected: {
    ...people,
    none: NO_KEY_IN_FRAME,
    wrong: 403,
    expired: [NO_KEY_IN_FRAME, 403],
    running: 101,
    paused: 409,
    service: NO_KEY_IN_FRAME,
  },
});

const agentServer = `${V1}/sandboxes/{sandbox_id}/agent-server`;
const listening = { stranger: 404, colleague: 101, owner: 101 };
const ordering = { stranger: 404, colleague: 403, owner: 101 };

/** What the OpenAPI document does not tell of: the gateway to the agent-servers, and the document itself. */
export const BESIDE_THE_DOCUMENT: readonly AuthorizationRow[] = [
  open('GET /openapi.json'),
  open('GET /docs'),
  passedOn(`GET ${agentServer}/api/conversations/count`, 401),
  passedOn(`POST ${agentServer}/api/bash/execute_bash_command`, 401),
  passedOn('GET /api/vscode/url', 404),
  socket('/sockets/events/{conversation_id}', listening),
  socket('/sockets/session/{conversation_id}', ordering),
  socket('/sockets/bash-events/{conversation_id}', ordering),
  socket('/sockets/bash-events', { stranger: 403, colleague: 403, owner: 403 }),
  socket(`${agentServer}/sockets/events/{conversation_id}`, listening),
  socket(`${agentServer}/sockets/bash-events`, { stranger: 404, colleague: 404, owner: 101 }),
];

const BEGIN =
  '<!-- Made by `npm run docs` from scripts/authorization-table.ts: change that, not this table. -->';
const END = '<!-- End of what is made. -->';

const ABOUT_GATEWAY = `What is not in the OpenAPI document, the [gateway](gateway.md) most of all. There 200 is the answer of the agent-server, 101 an
open socket, and 4001 a socket that was asked for a key in its first frame and closed without one. An expired cookie is as good as
none at a socket; an expired API key is refused.`;

/** `docs/security.md` with the table as it is now in its place. */
export function securityDocument(): string {
  const page = readFileSync(fileURLToPath(new URL('../docs/security.md', import.meta.url)), 'utf8');
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) {
    throw new Error(`docs/security.md has lost the place of its table: it is between ${BEGIN} and ${END}`);
  }
  return [
    before.trimEnd(),
    '',
    BEGIN,
    '',
    ...tableLines(AUTHORIZATION),
    '',
    ABOUT_GATEWAY,
    '',
    ...tableLines(BESIDE_THE_DOCUMENT),
    '',
    END,
    after.trimStart(),
  ].join('\n');
}

function tableLines(rows: readonly AuthorizationRow[]): string[] {
  const callers = Object.keys(CALLERS) as Caller[];
  return [
    `| route | ${callers.map((caller) => CALLERS[caller]).join(' | ')} |`,
    `| --- |${' ---: |'.repeat(callers.length)}`,
    ...rows.map(
      ({ route, expected }) =>
        `| \`${route}\` | ${callers.map((caller) => [expected[caller]].flat().join(' or ')).join(' | ')} |`,
    ),
  ];
}
