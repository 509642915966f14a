import { invalid, OPERATOR_KEY, refused, served } from './case.js';

const KEYS = '/api/service/users/{user_id}/orgs/{org_id}/api-keys';
const service = { as: 'service' } as const;
const body = { name: 'nightly' };

/** Contract 12. */
export const SERVICE = [
  served('GET /api/service/health', {
    as: 'nobody',
    answer: { status: 'ok', service_auth_configured: true },
  }),
  served(`POST ${KEYS}`, {
    ...service,
    body: { name: ' nightly ' },
    answer: { user_id: '{user_id}', org_id: '{org_id}', name: 'nightly' },
  }),
  refused(`POST ${KEYS}`, 401, 'A', 'without a key', {
    as: 'nobody',
    body,
    text: 'X-Service-API-Key header is required',
  }),
  refused(`POST ${KEYS}`, 401, 'A', 'with a wrong key', {
    as: 'nobody',
    headers: { 'X-Service-API-Key': 'wrong' },
    body,
    text: 'Invalid service API key',
  }),
  refused(`POST ${KEYS}`, 404, 'A', 'of nobody', {
    ...service,
    parameters: { user_id: 'x' },
    body,
    text: 'User x not found',
  }),
  refused(`POST ${KEYS}`, 403, 'A', 'of an organization that is not theirs', {
    ...service,
    parameters: { org_id: '00000000-0000-4000-8000-000000000000' },
    body,
    text: 'User {user_id} is not a member of org 00000000-0000-4000-8000-000000000000',
  }),
  invalid(`POST ${KEYS}`, 'without a name, before the key is looked at', ['body', 'name'], 'missing', {
    as: 'nobody',
    body: {},
  }),
  invalid(`POST ${KEYS}`, 'with a blank name', ['body', 'name'], 'value_error', {
    ...service,
    body: { name: ' ' },
  }),
  invalid(`POST ${KEYS}`, 'of an organization that is none', ['path', 'org_id'], 'uuid_parsing', {
    ...service,
    parameters: { org_id: 'x' },
    body,
  }),
  served(`DELETE ${KEYS}/{key_name}`, { ...service, answer: { message: 'API key deleted successfully' } }),
  refused(`DELETE ${KEYS}/{key_name}`, 404, 'A', 'that is not there', {
    ...service,
    parameters: { key_name: 'none' },
    text: 'API key with name "none" not found for user {user_id} in org {org_id}',
  }),
];

const operator = { as: 'operator' } as const;
const CODEC = '/api/v1/temporal-codec';
const page = { 'Sec-Fetch-Site': 'same-origin' };
/** Contract 13 and 16.11, and what is Callboard's own. */
export const SIGNING_IN = [
  served('GET /api/keys', { answer: [{ id: '{key_id}', name: 'x' }] }),
  refused('GET /api/keys', 401, 'A', 'of nobody', { as: 'nobody' }),
  served('POST /api/keys', { body: { name: 'new' }, answer: { name: 'new' } }),
  invalid('POST /api/keys', 'without a name', ['body', 'name'], 'missing', { body: {} }),
  served('DELETE /api/keys/{key_id}'),
  refused('DELETE /api/keys/{key_id}', 404, 'A', 'that is not there', {
    parameters: { key_id: '00000000-0000-4000-8000-000000000000' },
  }),
  served('POST /api/authenticate'),
  refused('POST /api/authenticate', 401, 'A', 'of nobody', { as: 'nobody' }),
  served('POST /api/logout', { answered: { 'set-cookie': /^callboard_session=;/ } }),
  served('GET /api/auth/session'),
  refused('GET /api/auth/session', 401, 'A', 'of nobody', { as: 'nobody' }),
  served('GET /api/auth/login', { as: 'nobody', answered: { location: /^https:\/\/login\.invalid\// } }, 303),
  refused('GET /api/auth/callback', 400, 'A', 'without having been there', {
    as: 'nobody',
    query: 'state=x&code=y',
  }),
  served('POST /api/auth/logout', { headers: page }),
  served('POST /api/auth/logout-everywhere', { headers: page }),
  refused('POST /api/auth/logout-everywhere', 401, 'A', 'of nobody', { as: 'nobody' }),
  refused('POST /api/auth/backchannel-logout', 400, 'C', 'without a token', { as: 'nobody' }),
  served(`POST ${CODEC}/decode`, { ...operator, body: { payloads: [] }, answer: { payloads: [] } }),
  refused(`POST ${CODEC}/decode`, 401, 'A', 'of nobody', { as: 'nobody', body: { payloads: [] } }),
  served(`POST ${CODEC}/encode`, { ...operator, body: { payloads: [] }, answer: { payloads: [] } }),
  refused(`POST ${CODEC}/encode`, 401, 'A', 'of nobody', { as: 'nobody', body: { payloads: [] } }),
  served(`GET ${CODEC}/sign-in`, {
    as: 'nobody',
    headers: { Authorization: `Basic ${Buffer.from(`operator:${OPERATOR_KEY}`).toString('base64')}` },
    answered: { 'content-type': /^text\//, 'set-cookie': /HttpOnly/ },
  }),
  refused(`GET ${CODEC}/sign-in`, 401, 'A', 'of nobody', { as: 'nobody' }),
];

/** Contract 17. */
export const HEALTH = [
  served('GET /alive', { as: 'nobody', answer: { status: 'ok' } }),
  served('GET /health', { as: 'nobody', answer: 'OK' }),
  served('GET /ready', { as: 'nobody', answer: 'OK' }),
  served('GET /server_info', { as: 'nobody' }),
];
