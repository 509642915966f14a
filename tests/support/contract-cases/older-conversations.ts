import { RETIRED } from '../../../api/legacy/retired-routes.js';
import { invalid, refused, served, TEXT, UNKNOWN } from './case.js';

const ALL = '/api/conversations';
const ONE = `${ALL}/{conversation_id}`;
const unknown = { parameters: { conversation_id: UNKNOWN } };
const impossible = { parameters: { conversation_id: 'a'.repeat(101) } };
const shown = {
  conversation_id: '{conversation_id}',
  status: 'RUNNING',
  conversation_version: 'V1',
  num_connections: 0,
};
const notFound = { ...unknown, answer: { status: 'error', conversation_id: UNKNOWN } };

/** Contract 16.2 to 16.7. */
export const CONVERSATIONS_OF_2025_11 = [
  served(`GET ${ALL}`, { answer: { results: [shown], next_page_id: null } }),
  served(`GET ${ALL}`, {
    what: 'of a repository',
    query: 'selected_repository=no/thing',
    answer: { results: [] },
  }),
  invalid(`GET ${ALL}`, 'with a limit that is none', ['query', 'limit'], 'int_parsing', {
    query: 'limit=all',
  }),
  served(`POST ${ALL}`, {
    body: { initial_user_msg: 'hello' },
    answer: { status: 'ok', conversation_status: 'STARTING' },
  }),
  refused(`POST ${ALL}`, 400, 'F', 'with a replay', { body: { replay_json: '[]' } }),
  invalid(`POST ${ALL}`, 'with a member that is none', ['body', 'x'], 'extra_forbidden', { body: { x: 1 } }),
  served(`GET ${ONE}`, { answer: { ...shown, sub_conversation_ids: ['{child_id}'] } }),
  served(`GET ${ONE}`, {
    what: 'of a paused sandbox',
    sandbox: 'PAUSED',
    answer: { status: 'STOPPED', runtime_status: null },
  }),
  served(`GET ${ONE}`, { what: 'of an unknown one is null', ...unknown, answer: null }),
  refused(`GET ${ONE}`, 400, 'A', 'of an id that cannot be one', impossible),
  served(`PATCH ${ONE}`, { body: { title: ' New ' }, answer: true }),
  refused(`PATCH ${ONE}`, 404, 'F', 'of an unknown one', {
    ...unknown,
    body: { title: 'New' },
    answer: { status: 'error' },
  }),
  invalid(`PATCH ${ONE}`, 'with a member that is none', ['body', 'x'], 'extra_forbidden', {
    body: { title: 'New', x: 1 },
  }),
  served(`DELETE ${ONE}`, { answer: true }),
  served(`DELETE ${ONE}`, { what: 'of an unknown one', ...unknown, answer: false }),
  refused(`DELETE ${ONE}`, 400, 'A', 'of an id that cannot be one', impossible),
  served(`POST ${ONE}/start`, { answer: { status: 'ok', conversation_id: '{conversation_id}' } }),
  refused(`POST ${ONE}/start`, 404, 'F', 'of an unknown one', notFound),
  served(`POST ${ONE}/stop`, { answer: { status: 'ok', conversation_id: '{conversation_id}' } }),
  served(`POST ${ONE}/stop`, {
    what: 'of a paused sandbox',
    sandbox: 'PAUSED',
    answer: { message: 'Conversation was not running' },
  }),
  refused(`POST ${ONE}/stop`, 404, 'F', 'of an unknown one', notFound),
  served(`GET ${ONE}/config`, { answer: { runtime_id: '{sandbox_id}', session_id: '{conversation_id}' } }),
  refused(`GET ${ONE}/config`, 404, 'A', 'of an unknown one', {
    ...unknown,
    text: `Conversation ${UNKNOWN} not found`,
  }),
  served(`POST ${ONE}/events`, {
    body: { role: 'user', content: TEXT },
    answer: { success: true, role: 'user' },
  }),
  served(`POST ${ONE}/events`, {
    what: 'in the form of older agents',
    body: { action: 'message', args: { content: 'hello' } },
    answer: { success: true },
  }),
  refused(`POST ${ONE}/events`, 400, 'A', 'of another action', { body: { action: 'run', args: {} } }),
  refused(`POST ${ONE}/events`, 404, 'A', 'to an unknown one', {
    ...unknown,
    body: { role: 'user', content: TEXT },
  }),
  served(`POST ${ONE}/message`, { body: { message: 'hello' }, answer: { success: true } }),
  refused(`POST ${ONE}/message`, 404, 'A', 'to an unknown one', { ...unknown, body: { message: 'hello' } }),
  served(`GET ${ONE}/events`, {
    query: 'limit=1',
    answer: { events: [{ id: '{event_id}' }], has_more: true },
  }),
  refused(`GET ${ONE}/events`, 400, 'A', 'with too high a limit', { query: 'limit=101' }),
  served(`GET ${ONE}/trajectory`),
  refused(`GET ${ONE}/trajectory`, 404, 'A', 'of an unknown one', unknown),
  served(`GET ${ONE}/git/changes`, { answer: [{ status: 'A', path: 'a.txt' }] }),
  refused(`GET ${ONE}/git/changes`, 404, 'A', 'of an unknown one', unknown),
  served(`GET ${ONE}/git/diff`, { query: 'path=a.txt', answer: { modified: 'new', original: 'old' } }),
  refused(`GET ${ONE}/git/diff`, 409, 'A', 'of a paused sandbox', { sandbox: 'PAUSED', query: 'path=a.txt' }),
  served(`GET ${ONE}/microagents`, { answer: { microagents: [{ name: 'review', type: 'knowledge' }] } }),
  refused(`GET ${ONE}/microagents`, 404, 'A', 'of an unknown one', unknown),
  served(`GET ${ONE}/vscode-url`),
  refused(`GET ${ONE}/vscode-url`, 404, 'A', 'of an unknown one', unknown),
  served(`GET ${ONE}/web-hosts`),
  refused(`GET ${ONE}/web-hosts`, 404, 'A', 'of an unknown one', unknown),
  served('GET /api/microagent-management/conversations', {
    query: 'selected_repository=a%2Fb',
    answer: { results: [] },
  }),
  invalid(
    'GET /api/microagent-management/conversations',
    'of no repository',
    ['query', 'selected_repository'],
    'missing',
  ),
  // The path is not looked at beyond its beginning.
  ...RETIRED.map(({ route }) =>
    refused(route, 404, 'A', 'as it is not served', { parameters: { rest: 'a/b' } }),
  ),
];
