/** `docs/compatibility.md`: which routes of the contract are served, made from the routes themselves. */
import { RETIRED } from '../api/legacy/retired-routes.js';
import type { RouteDefinition } from '../api/route.js';
import { apiRoutes, type ApiParts } from '../cli/api-routes.js';
import { loadConfig } from '../config/config.js';
import { CASES_BY_FILE } from '../tests/support/contract-cases/index.js';
import { defectLines } from '../tests/support/reference-defects.js';

/** Which clients use a route: those of 2025-11, those of 1.11, both, or neither of them but others. */
type Clients = '2025-11' | '1.11' | 'both' | 'others';

/** The routes that the documents which Callboard was made from name; the others are known from one release or both. */
const DOCUMENTED = [
  /^(get|post) \/api\/v1\/app-conversations(\/(search|count|stream-start|start-tasks(\/(search|count))?))?$/,
  /^get \/api\/v1\/events(\/(search|count))?$/,
  /^(get|post|delete) \/api\/v1\/sandboxes(\/search|\/\{\}(\/(pause|resume))?)?$/,
  /^post \/api\/v1\/webhooks\/\{\}\/(conversations|events\/\{\})$/,
  /^get \/api\/v1\/(webhooks\/secrets|users\/me)$/,
  /^\w+ \/api\/(service|user)\//,
  /^(get|post) \/api\/conversations$/,
  /^(get|patch|delete) \/api\/conversations\/\{\}$/,
  /^post \/api\/conversations\/\{\}\/(start|stop|events|message)$/,
  /^get \/api\/conversations\/\{\}\/config$/,
];
/** Called by the 2025-11 web client although its own server does not have them. */
const CALLED_ONLY =
  /^\w+ (\/api\/(keys|authenticate|logout|keycloak|accept_tos|email|billing|security)|\/(integration|feedback))\b/;

interface Area {
  name: string;
  clients: Clients;
  /** `METHOD path`, several methods with `|`. */
  routes: readonly string[];
}

const V1 = '/api/v1';
const conversation = `${V1}/app-conversations/{id}`;

/** Every route of the contract (section 2), by what it is for. */
const CONTRACT: readonly Area[] = [
  area('Conversations', 'both', [
    `GET|POST ${V1}/app-conversations`,
    `GET ${V1}/app-conversations/search`,
    `GET ${V1}/app-conversations/count`,
    `POST ${V1}/app-conversations/stream-start`,
  ]),
  area('Conversations', '1.11', [`PATCH|DELETE ${conversation}`, `POST ${conversation}/send-message`]),
  area('Start tasks', 'both', [
    `GET ${V1}/app-conversations/start-tasks`,
    `GET ${V1}/app-conversations/start-tasks/search`,
    `GET ${V1}/app-conversations/start-tasks/count`,
  ]),
  area('Start tasks', 'others', [
    `GET ${V1}/app-conversations/start-tasks/stream`,
    `POST ${V1}/app-conversations/start-tasks/{id}/retry`,
  ]),
  area('Switching the model', '1.11', [
    `POST ${conversation}/switch_profile`,
    `POST ${conversation}/switch_acp_model`,
  ]),
  area('Looking into a conversation', '1.11', [
    `GET ${conversation}/file`,
    `GET ${conversation}/git/changes`,
    `GET ${conversation}/git/diff`,
    `GET ${conversation}/skills`,
    `GET ${conversation}/hooks`,
    `GET ${conversation}/download`,
  ]),
  area('Pending messages', '1.11', [`POST ${V1}/conversations/{id}/pending-messages`]),
  area('Pending messages', 'others', [
    `GET ${V1}/conversations/{id}/pending-messages`,
    `DELETE ${V1}/conversations/{id}/pending-messages/{id}`,
  ]),
  area('Events', '2025-11', [`GET ${V1}/events`, `GET ${V1}/events/search`, `GET ${V1}/events/count`]),
  area('Events', '1.11', [
    `GET ${V1}/conversation/{id}/events`,
    `GET ${V1}/conversation/{id}/events/search`,
    `GET ${V1}/conversation/{id}/events/count`,
  ]),
  area('Sandboxes', 'both', [
    `GET|POST ${V1}/sandboxes`,
    `GET ${V1}/sandboxes/search`,
    `POST ${V1}/sandboxes/{id}/pause`,
    `POST ${V1}/sandboxes/{id}/resume`,
    `DELETE ${V1}/sandboxes/{id}`,
  ]),
  area('Sandbox specs', 'both', [`GET ${V1}/sandbox-specs`, `GET ${V1}/sandbox-specs/search`]),
  area('Secrets for sandboxes', '1.11', [
    `GET ${V1}/sandboxes/{id}/settings/secrets`,
    `GET ${V1}/sandboxes/{id}/settings/secrets/{name}`,
  ]),
  area('Webhooks', '2025-11', [
    `POST ${V1}/webhooks/{id}/conversations`,
    `POST ${V1}/webhooks/{id}/events/{id}`,
  ]),
  area('Webhooks', '1.11', [`POST ${V1}/webhooks/conversations`, `POST ${V1}/webhooks/events/{id}`]),
  area('Git tokens for agents', 'both', [`GET ${V1}/webhooks/secrets`]),
  area('The user', 'both', [`GET ${V1}/users/me`]),
  area('The user', '1.11', [`GET ${V1}/users/git-info`]),
  area('Settings', '1.11', [
    `GET|POST ${V1}/settings`,
    `GET ${V1}/settings/agent-schema`,
    `GET ${V1}/settings/conversation-schema`,
  ]),
  area('Settings', '2025-11', ['GET|POST /api/settings', 'POST /api/reset-settings']),
  area('Model profiles', '1.11', [
    `GET ${V1}/settings/profiles`,
    `GET|POST|DELETE ${V1}/settings/profiles/{name}`,
    `POST ${V1}/settings/profiles/{name}/activate`,
    `POST ${V1}/settings/profiles/{name}/rename`,
  ]),
  area('Secrets', '1.11', [
    `POST|DELETE ${V1}/secrets/git-providers`,
    `GET ${V1}/secrets/search`,
    `POST ${V1}/secrets`,
    `PUT|DELETE ${V1}/secrets/{id}`,
  ]),
  area('Secrets', '2025-11', [
    'GET|POST /api/secrets',
    'PUT|DELETE /api/secrets/{id}',
    'POST /api/add-git-providers',
    'POST /api/unset-provider-tokens',
  ]),
  area('Git', '1.11', [
    `GET ${V1}/git/installations/search`,
    `GET ${V1}/git/repositories/search`,
    `GET ${V1}/git/branches/search`,
    `GET ${V1}/git/suggested-tasks/search`,
  ]),
  area('Git', '2025-11', [
    'GET /api/user/installations',
    'GET /api/user/repositories',
    'GET /api/user/info',
    'GET /api/user/search/repositories',
    'GET /api/user/search/branches',
    'GET /api/user/suggested-tasks',
    'GET /api/user/repository/branches',
    'GET /api/user/repository/{name}/microagents',
    'GET /api/user/repository/{name}/microagents/content',
  ]),
  area('Choices', '1.11', [
    `GET ${V1}/config/models/search`,
    `GET ${V1}/config/providers/search`,
    `GET ${V1}/skills/search`,
    `POST ${V1}/skills/marketplace-skills`,
    `GET ${V1}/web-client/config`,
  ]),
  area('Choices', '2025-11', [
    'GET /api/options/config',
    'GET /api/options/models',
    'GET /api/options/agents',
    'GET /api/options/security-analyzers',
  ]),
  area('Conversations, older form', '2025-11', [
    'GET|POST /api/conversations',
    'GET|PATCH|DELETE /api/conversations/{id}',
    'POST /api/conversations/{id}/start',
    'POST /api/conversations/{id}/stop',
    'GET /api/conversations/{id}/config',
    'POST /api/conversations/{id}/events',
    'POST /api/conversations/{id}/message',
    'GET /api/conversations/{id}/events',
    'GET /api/conversations/{id}/trajectory',
    'GET /api/conversations/{id}/microagents',
    'GET /api/conversations/{id}/git/changes',
    'GET /api/conversations/{id}/git/diff',
    'GET /api/conversations/{id}/vscode-url',
    'GET /api/conversations/{id}/web-hosts',
    'GET /api/microagent-management/conversations',
  ]),
  area(
    'Answered with 404 and what to do instead',
    '2025-11',
    RETIRED.map(({ route }) => route),
  ),
  area('Service API', 'others', [
    'GET /api/service/health',
    'POST /api/service/users/{id}/orgs/{id}/api-keys',
    'DELETE /api/service/users/{id}/orgs/{id}/api-keys/{name}',
  ]),
  area('Temporal payloads for operators', 'others', [
    `POST ${V1}/temporal-codec/decode`,
    `POST ${V1}/temporal-codec/encode`,
    `GET ${V1}/temporal-codec/sign-in`,
  ]),
  area('API keys', '2025-11', ['GET|POST /api/keys', 'DELETE /api/keys/{id}']),
  area('Signing in', '2025-11', ['POST /api/authenticate', 'POST /api/logout']),
  area('Signing in', 'others', [
    'GET /api/auth/login',
    'GET /api/auth/callback',
    'GET /api/auth/session',
    'POST /api/auth/logout',
    'POST /api/auth/logout-everywhere',
    'POST /api/auth/backchannel-logout',
  ]),
  area('Health', 'both', ['GET /alive', 'GET /health', 'GET /server_info']),
  area('Health', '1.11', ['GET /ready']),
];

function area(name: string, clients: Clients, routes: readonly string[]): Area {
  return {
    name,
    clients,
    routes: routes.flatMap((route) => {
      const [methods = '', path = ''] = route.split(' ');
      return methods.split('|').map((method) => `${method} ${path}`);
    }),
  };
}

/** Content of `docs/compatibility.md`. */
export function compatibilityDocument(): string {
  const served = new Map(servedRoutes().map((route) => [key(`${route.method} ${route.path}`), route]));
  const known = new Set(CONTRACT.flatMap(({ routes }) => routes.map(key)));
  const beyond = [...served.keys()].filter((route) => !known.has(route));
  if (beyond.length > 0) {
    throw new Error(`scripts/generate-compatibility.ts does not know ${beyond.join(', ')}: add them`);
  }
  const untested = [...served.keys()].filter((route) => testsOf(route) === '');
  if (untested.length > 0) {
    throw new Error(`add cases to tests/support/contract-cases of ${untested.join(', ')}`);
  }
  const rows = CONTRACT.flatMap(({ name, clients, routes }) =>
    routes.flatMap((route) => {
      const definition = served.get(key(route));
      return definition ? [{ name, clients, definition }] : [];
    }),
  );
  const missing = CONTRACT.flatMap(({ routes }) => routes.filter((route) => !served.has(key(route))));
  if (missing.length > 0) throw new Error(`no route serves ${missing.join(', ')}`);
  return [
    '# Compatibility',
    '',
    '<!-- Made by `npm run docs` from the routes themselves: change those, not this page. -->',
    '',
    'Two generations of OpenHands clients are served: those of the 2025-11 release and those of release 1.11. Where',
    'both have a path for the same thing, both paths are served and do the same. A running server describes what it serves',
    'at `/openapi.json`, and for people at `/docs`. What behaves differently from the Python server, on purpose, is on the',
    'page [moving](moving.md).',
    '',
    '## Served',
    '',
    'Sources: S, the documents that Callboard was made from; N, the release of 2025-11; R, release 1.11; F, called by the web client',
    'of 2025-11 although its server has no such route; an empty place is an addition of Callboard. A route is there since the older',
    'of its releases. The last column names the file of `tests/support/contract-cases` with the cases of the route, and the statuses',
    'they expect; `tests/api/contract-cases.test.ts` sends them all, and compares the answers with the schemas of the routes and with',
    'the OpenAPI document of release 1.11.',
    '',
    '| | route | source | clients | what it does | test |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map(({ name, clients, definition: { method, path, summary } }, place) => {
      const heading = rows[place - 1]?.name === name ? '' : name;
      const route = `${method.toUpperCase()} ${path}`;
      return `| ${[heading, `\`${route}\``, sourcesOf(route, clients), clients, summary, testsOf(route)].join(' | ')} |`;
    }),
    '',
    '## Not served',
    '',
    'The MCP endpoint `/mcp/mcp`, the Socket.IO stream of conversations of the older kind, and billing, feedback and other parts of the',
    'commercial product. Routes that only they had are answered with 404 and a sentence that says what to do instead; they are in the',
    'table above. Sockets of conversations are those of the agent-server: [moving](moving.md#clients-of-2025-11).',
    '',
    ...defectLines(),
  ].join('\n');
}

/** Letters of where a route is known from. */
function sourcesOf(route: string, clients: Clients): string {
  const plain = route.replace(/^\w+/, (method) => method.toLowerCase()).replaceAll(/\{[^}]*\}/g, '{}');
  if (CALLED_ONLY.test(plain)) return 'F';
  return [
    DOCUMENTED.some((pattern) => pattern.test(plain)) ? 'S' : '',
    clients === 'both' || clients === '2025-11' ? 'N' : '',
    clients === 'both' || clients === '1.11' ? 'R' : '',
  ]
    .filter((letter) => letter !== '')
    .join(' ');
}

/** Where the cases of a route are, and what they expect: `settings: 200, 404`. */
function testsOf(route: string): string {
  return Object.entries(CASES_BY_FILE)
    .flatMap(([file, cases]) => {
      const statuses = cases.filter((one) => key(one.route) === key(route)).map(({ status }) => status);
      return statuses.length === 0 ? [] : [`${file}: ${[...new Set(statuses)].sort().join(', ')}`];
    })
    .join('; ');
}

/** Parameters have no names here: the contract and the code call them differently. */
const key = (route: string): string =>
  route.replace(/^\w+/, (method) => method.toUpperCase()).replaceAll(/\{[^}]*\}/g, '{}');

/** All routes as they are put together for a running server, on parts that are never used. */
export function servedRoutes(): RouteDefinition[] {
  const parts = {
    config: loadConfig({ env: { HOME: '/nonexistent' } }),
    identity: standIn({ checks: [] }),
    core: standIn({ keys: [{ id: 'unused', secret: new Uint8Array(32) }] }),
  };
  return apiRoutes(standIn(parts) as unknown as ApiParts);
}

/** An object that has every member; those that are not given are stand-ins too. */
function standIn(members: Record<string, unknown>): Record<string, unknown> {
  return new Proxy(members, {
    get: (target, name) => (name in target ? Reflect.get(target, name) : standIn({})) as unknown,
  });
}
