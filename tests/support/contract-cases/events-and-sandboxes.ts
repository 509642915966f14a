import { invalid, refused, repeated, served, UNKNOWN } from './case.js';

const V1 = '/api/v1';
const EVENTS = `${V1}/conversation/{conversation_id}/events`;
const OLDER = `${V1}/events`;
const ofConversation = 'conversation_id__eq={conversation_id}';
const unknown = { parameters: { conversation_id: UNKNOWN } };
const MALFORMED = { parameters: { conversation_id: 'abc' } };
const event = { id: 'e1', kind: 'MessageEvent', timestamp: '2026-01-01T00:00:00', source: 'user' };
const record = { id: '{conversation_id}', agent: { llm: { model: 'm' } }, workspace: {} };
const sandbox = { as: 'sandbox' } as const;
const first = { id: '{event_id}', kind: 'SystemPromptEvent', source: 'agent' };

/** Contract 4. */
export const EVENTS_OF_CONVERSATIONS = [
  served(`GET ${EVENTS}/search`, { query: 'limit=1', answer: { items: [first] } }),
  served(`GET ${EVENTS}/search`, {
    what: 'of an unknown conversation',
    ...unknown,
    answer: { items: [], next_page_id: null },
  }),
  served(`GET ${EVENTS}/search`, {
    what: 'with a page id that is none',
    query: 'limit=1&page_id=x',
    answer: { items: [first] },
  }),
  invalid(`GET ${EVENTS}/search`, 'of a kind that is none', ['query', 'kind__eq'], 'literal_error', {
    query: 'kind__eq=Song',
  }),
  invalid(
    `GET ${EVENTS}/search`,
    'of an id that is none',
    ['path', 'conversation_id'],
    'uuid_parsing',
    MALFORMED,
  ),
  served(`GET ${EVENTS}/count`, { query: 'kind__eq=SystemPromptEvent', answer: 1 }),
  served(`GET ${EVENTS}/count`, { what: 'of an unknown conversation', ...unknown, answer: 0 }),
  invalid(
    `GET ${EVENTS}/count`,
    'of an id that is none',
    ['path', 'conversation_id'],
    'uuid_parsing',
    MALFORMED,
  ),
  served(`GET ${EVENTS}`, { query: 'id={event_id}&id=none', answer: [first, null] }),
  invalid(`GET ${EVENTS}`, 'without ids', ['query', 'id'], 'missing'),
  refused(`GET ${EVENTS}`, 400, 'A', 'of more than a hundred', {
    query: repeated('id', 101, UNKNOWN),
    text: 'Cannot request more than 100 events at once, got 101',
  }),
  served(`GET ${OLDER}/search`, { query: `${ofConversation}&limit=1`, answer: { items: [first] } }),
  served(`GET ${OLDER}/search`, {
    what: 'of somebody with nothing',
    as: 'newcomer',
    answer: { items: [], next_page_id: null },
  }),
  invalid(`GET ${OLDER}/search`, 'in no order', ['query', 'sort_order'], 'enum', {
    query: 'sort_order=SIDEWAYS',
  }),
  served(`GET ${OLDER}/count`, { query: `${ofConversation}&kind__eq=SystemPromptEvent`, answer: 1 }),
  invalid(`GET ${OLDER}/count`, 'of an id that is none', ['query', 'conversation_id__eq'], 'uuid_parsing', {
    query: 'conversation_id__eq=abc',
  }),
  served(`GET ${OLDER}`, { query: 'id=none&id={event_id}', answer: [null, first] }),
  invalid(`GET ${OLDER}`, 'without ids', ['query', 'id'], 'missing'),
  refused(`GET ${OLDER}`, 400, 'A', 'of more than a hundred', { query: repeated('id', 101, UNKNOWN) }),
];

const ACCEPTED = { answer: { success: true } };
/** Contract 6; both forms of the path. */
export const WEBHOOKS = [`${V1}/webhooks`, `${V1}/webhooks/{sandbox_id}`].flatMap((base) => [
  served(`POST ${base}/conversations`, { ...sandbox, body: record, ...ACCEPTED }),
  served(`POST ${base}/conversations`, {
    what: 'of a paused sandbox',
    ...sandbox,
    sandbox: 'PAUSED',
    body: record,
    ...ACCEPTED,
  }),
  refused(`POST ${base}/conversations`, 401, 'A', 'without a key', { as: 'nobody', body: record }),
  invalid(`POST ${base}/conversations`, 'without an agent', ['body', 'agent'], 'missing', {
    ...sandbox,
    body: { id: '{conversation_id}', workspace: {} },
  }),
  served(`POST ${base}/events/{conversation_id}`, { ...sandbox, body: [event], ...ACCEPTED }),
  served(`POST ${base}/events/{conversation_id}`, {
    what: 'of a kind that nobody knows',
    ...sandbox,
    body: [{ ...event, kind: 'Hologram' }],
    ...ACCEPTED,
  }),
  refused(`POST ${base}/events/{conversation_id}`, 401, 'A', 'with a key of nothing', {
    as: 'nobody',
    headers: { 'X-Session-API-Key': 'made up' },
    body: [event],
  }),
  invalid(`POST ${base}/events/{conversation_id}`, 'that are no list', ['body'], 'list_type', {
    ...sandbox,
    body: {},
  }),
]);

const BOX = `${V1}/sandboxes/{sandbox_id}`;
const none = { parameters: { sandbox_id: 'none' } };
const NOT_FOUND = { ...none, text: 'Not Found' };
const SECRETS = `${BOX}/settings/secrets`;
/** Contract 5 and 8. */
export const SANDBOXES = [
  served(`GET ${V1}/sandboxes/search`, {
    answer: { items: [{ id: '{sandbox_id}', status: 'RUNNING' }], next_page_id: null },
  }),
  invalid(`GET ${V1}/sandboxes/search`, 'with a limit that is none', ['query', 'limit'], 'int_parsing', {
    query: 'limit=all',
  }),
  served(`GET ${V1}/sandboxes`, {
    query: 'id={sandbox_id}&id=none',
    answer: [{ id: '{sandbox_id}', session_api_key: '{session_key}' }, null],
  }),
  served(`GET ${V1}/sandboxes`, {
    what: 'of a paused one, without key and addresses',
    query: 'id={sandbox_id}',
    sandbox: 'PAUSED',
    answer: [{ status: 'PAUSED', session_api_key: null, exposed_urls: null }],
  }),
  invalid(`GET ${V1}/sandboxes`, 'without ids', ['query', 'id'], 'missing'),
  refused(`GET ${V1}/sandboxes`, 400, 'A', 'of more than a hundred', {
    query: repeated('id', 101, 'x'),
    text: 'Cannot request more than 100 sandboxes at once, got 101',
  }),
  served(`POST ${V1}/sandboxes`, {
    answer: { status: 'STARTING', session_api_key: null, exposed_urls: null },
  }),
  refused(`POST ${V1}/sandboxes`, 404, 'A', 'of an unknown spec', {
    query: 'sandbox_spec_id=none',
    text: "Sandbox Spec 'none' not found",
  }),
  ...(['pause', 'resume'] as const).flatMap((order) => [
    served(`POST ${BOX}/${order}`, { body: {}, ...ACCEPTED }),
    refused(`POST ${BOX}/${order}`, 404, 'A', 'of an unknown one', NOT_FOUND),
  ]),
  served(`DELETE ${BOX}`, ACCEPTED),
  served(`DELETE ${BOX}`, {
    what: 'that the query names',
    query: 'sandbox_id={sandbox_id}',
    ...none,
    ...ACCEPTED,
  }),
  refused(`DELETE ${BOX}`, 404, 'A', 'of an unknown one', NOT_FOUND),
  served(`GET ${V1}/sandbox-specs/search`),
  invalid(`GET ${V1}/sandbox-specs/search`, 'with too high a limit', ['query', 'limit'], 'less_than_equal', {
    query: 'limit=101',
  }),
  served(`GET ${V1}/sandbox-specs`, { query: 'id=none', answer: [null] }),
  invalid(`GET ${V1}/sandbox-specs`, 'without ids', ['query', 'id'], 'missing'),
  served(`GET ${SECRETS}`, {
    ...sandbox,
    answer: {
      secrets: [{ name: 'A_SECRET' }, { name: 'github_token', description: 'github provider token' }],
    },
  }),
  refused(`GET ${SECRETS}`, 401, 'A', 'without a key', {
    as: 'nobody',
    text: 'X-Session-API-Key header is required',
  }),
  refused(`GET ${SECRETS}`, 401, 'A', 'of a paused one', {
    ...sandbox,
    sandbox: 'PAUSED',
    text: 'Sandbox is not running',
  }),
  refused(`GET ${SECRETS}`, 403, 'A', 'of another one', {
    ...sandbox,
    ...none,
    text: 'Session API key does not match sandbox',
  }),
  served(`GET ${SECRETS}/{secret_name}`, {
    ...sandbox,
    answer: 'the value of a secret',
    answered: { 'content-type': /^text\/plain; charset=utf-8$/ },
  }),
  refused(`GET ${SECRETS}/{secret_name}`, 404, 'A', 'that is not there', {
    ...sandbox,
    parameters: { secret_name: 'OTHER' },
    text: 'Secret not found',
  }),
  served(`GET ${V1}/webhooks/secrets`, {
    as: 'access token',
    answer: 'the token of a user',
    answered: { 'content-type': /^text\/plain/ },
  }),
  refused(`GET ${V1}/webhooks/secrets`, 401, 'A', 'without a token', { as: 'nobody', text: 'Unauthorized' }),
  refused(`GET ${V1}/webhooks/secrets`, 401, 'A', 'with a token that is none', {
    as: 'nobody',
    headers: { 'X-Access-Token': 'none' },
    text: 'Unauthorized',
  }),
];
