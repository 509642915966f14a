import {
  CHOSEN,
  CHOSEN_DASHED,
  invalid,
  refused,
  repeated,
  served,
  TEXT,
  UNKNOWN,
  UNKNOWN_DASHED,
} from './case.js';

const BASE = '/api/v1/app-conversations';
const ONE = `${BASE}/{conversation_id}`;
const TASKS = `${BASE}/start-tasks`;
const PENDING = '/api/v1/conversations/{conversation_id}/pending-messages';
const unknown = { parameters: { conversation_id: UNKNOWN } };
const malformed = { parameters: { conversation_id: 'abc' } };
const malformedAt = ['path', 'conversation_id'];
const unreachable = `Conversation ${UNKNOWN_DASHED} is not reachable`;
const shown = { id: '{conversation_id}', sandbox_status: 'RUNNING', title: '{title}' };
const suggested_task = {
  git_provider: 'github',
  task_type: 'OPEN_ISSUE',
  repo: 'acme/rocket',
  issue_number: 1,
  title: 'Mend it',
};

/** Contract 3. */
export const CONVERSATIONS = [
  served(`GET ${BASE}/search`, { answer: { items: [shown], next_page_id: null } }),
  served(`GET ${BASE}/search`, {
    what: 'for a title',
    query: 'title__contains=nothing',
    answer: { items: [] },
  }),
  served(`GET ${BASE}/search`, { what: 'of somebody with nothing', as: 'newcomer', answer: { items: [] } }),
  served(`GET ${BASE}/search`, {
    what: 'with a page id that is none',
    query: 'page_id=nonsense',
    answer: { items: [shown] },
  }),
  served(`GET ${BASE}/search`, {
    what: 'with parameters nobody knows',
    query: 'x=1',
    answer: { items: [shown] },
  }),
  served(`GET ${BASE}/search`, {
    what: 'with sub-conversations, the newest first',
    query: 'include_sub_conversations=true&limit=1',
    answer: { items: [{ id: '{child_id}', parent_conversation_id: '{conversation_id}' }] },
  }),
  invalid(`GET ${BASE}/search`, 'with too high a limit', ['query', 'limit'], 'less_than_equal', {
    query: 'limit=101',
  }),
  invalid(`GET ${BASE}/search`, 'with no limit left', ['query', 'limit'], 'greater_than', {
    query: 'limit=0',
  }),
  served(`GET ${BASE}/count`, { answer: 1 }),
  served(`GET ${BASE}/count`, {
    what: 'with sub-conversations',
    query: 'include_sub_conversations=true',
    answer: 2,
  }),
  invalid(
    `GET ${BASE}/count`,
    'with a time that is none',
    ['query', 'created_at__gte'],
    'datetime_from_date_parsing',
    {
      query: 'created_at__gte=soon',
    },
  ),
  served(`GET ${BASE}`, {
    what: 'in any spelling, as often as asked for, null for what is not there',
    query: `ids={dashed_id}&ids=${UNKNOWN}&ids={conversation_id}`,
    answer: [{ ...shown, sub_conversation_ids: ['{child_id}'] }, null, shown],
  }),
  served(`GET ${BASE}`, {
    what: 'of a paused sandbox, without key and address',
    query: 'ids={conversation_id}',
    sandbox: 'PAUSED',
    answer: [
      { sandbox_status: 'PAUSED', session_api_key: null, conversation_url: null, execution_status: null },
    ],
  }),
  served(`GET ${BASE}`, {
    what: 'with the tokens of its reasoning (D30)',
    query: 'ids={conversation_id}',
    answer: [{ metrics: { accumulated_token_usage: { reasoning_tokens: 5 } } }],
  }),
  invalid(`GET ${BASE}`, 'without ids', ['query', 'ids'], 'missing'),
  refused(`GET ${BASE}`, 400, 'A', 'with an id that is none', {
    query: 'ids=abc',
    text: "Invalid UUID format for ids: ['abc']",
  }),
  refused(`GET ${BASE}`, 400, 'A', 'of more than a hundred', { query: repeated('ids', 101, UNKNOWN) }),
  served(`POST ${BASE}`, {
    body: {},
    answer: { detail: null, request: { title: null } },
  }),
  served(`POST ${BASE}`, {
    what: 'with an id, which it spells with dashes',
    body: { conversation_id: CHOSEN, title: 'kept' },
    answer: { request: { conversation_id: CHOSEN_DASHED, title: 'kept' } },
  }),
  invalid(`POST ${BASE}`, 'without a body', ['body'], 'missing'),
  invalid(`POST ${BASE}`, 'with JSON that is broken', ['body', 1], 'json_invalid', { body: '{' }),
  invalid(`POST ${BASE}`, 'with callbacks of no kind', ['body', 'processors', 0], 'value_error', {
    body: { processors: [{ kind: 'None' }] },
  }),
  invalid(`POST ${BASE}`, 'with callbacks that name none', ['body', 'processors', 0, 'kind'], 'missing', {
    body: { processors: [{}] },
  }),
  refused(`POST ${BASE}`, 404, 'A', 'below a parent that is not there', {
    body: { parent_conversation_id: UNKNOWN },
    text: `Parent conversation not found: ${UNKNOWN}`,
  }),
  refused(`POST ${BASE}`, 400, 'A', 'with a suggested task and a message', {
    body: { suggested_task, initial_message: { content: TEXT } },
  }),
  served(`POST ${BASE}/stream-start`, { body: {}, answered: { 'content-type': /^application\/json/ } }),
  refused(`POST ${BASE}/stream-start`, 404, 'A', 'below a parent that is not there', {
    body: { parent_conversation_id: UNKNOWN },
  }),
  served(`PATCH ${ONE}`, { body: { title: 'New' }, answer: { id: '{conversation_id}', title: 'New' } }),
  served(`PATCH ${ONE}`, {
    what: 'clears what is null and leaves what is absent',
    body: { selected_branch: null },
    answer: { title: '{title}', selected_branch: null },
  }),
  refused(`PATCH ${ONE}`, 404, 'A', 'of an unknown one', {
    ...unknown,
    body: {},
    text: 'unknown_app_conversation',
  }),
  refused(`PATCH ${ONE}`, 400, 'A', 'with a repository that is none', {
    body: { selected_repository: 'a;b/c' },
  }),
  invalid(`PATCH ${ONE}`, 'of an id that is none', malformedAt, 'uuid_parsing', { ...malformed, body: {} }),
  served(`DELETE ${ONE}`, { answer: { success: true } }),
  refused(`DELETE ${ONE}`, 404, 'A', 'of an unknown one', { ...unknown, text: 'Conversation not found' }),
  refused(`DELETE ${ONE}`, 400, 'A', 'of an id that is none', {
    ...malformed,
    text: 'Invalid conversation ID format',
  }),
  served(`POST ${ONE}/send-message`, {
    body: { content: TEXT },
    answer: { success: true, sandbox_status: 'RUNNING' },
  }),
  refused(`POST ${ONE}/send-message`, 404, 'A', 'to an unknown one', {
    ...unknown,
    body: { content: TEXT },
    text: `Conversation ${UNKNOWN_DASHED} not found`,
  }),
  refused(`POST ${ONE}/send-message`, 503, 'A', 'to a sandbox in ERROR', {
    sandbox: 'ERROR',
    body: { content: TEXT },
    text: 'Sandbox is in an error state and cannot accept messages.',
  }),
  invalid(`POST ${ONE}/send-message`, 'without content', ['body', 'content'], 'too_short', {
    body: { content: [] },
  }),
  served(`POST ${ONE}/switch_profile`, { body: { profile_name: 'saved' }, answer: { success: true } }),
  refused(`POST ${ONE}/switch_profile`, 404, 'A', 'to one that is not saved', {
    body: { profile_name: 'other' },
    text: "Profile 'other' not found",
  }),
  refused(`POST ${ONE}/switch_profile`, 409, 'A', 'of a paused sandbox', {
    sandbox: 'PAUSED',
    body: { profile_name: 'saved' },
    text: 'Sandbox is paused; resume it before switching profiles.',
  }),
  served(`POST ${ONE}/switch_acp_model`, { body: { model: 'm' }, answer: { success: true } }),
  refused(`POST ${ONE}/switch_acp_model`, 404, 'A', 'of an unknown one', {
    ...unknown,
    body: { model: 'm' },
    text: unreachable,
  }),
  invalid(`POST ${ONE}/switch_acp_model`, 'to no model', ['body', 'model'], 'string_too_short', {
    body: { model: '' },
  }),
  served(`GET ${ONE}/file`, { query: 'file_path=README.md', answer: 'a line\n' }),
  served(`GET ${ONE}/file`, { what: 'of an unknown conversation is empty', ...unknown, answer: '' }),
  invalid(`GET ${ONE}/file`, 'of an id that is none', malformedAt, 'uuid_parsing', malformed),
  served(`GET ${ONE}/git/changes`, { query: 'path=.', answer: [{ status: 'ADDED', path: 'a.txt' }] }),
  invalid(`GET ${ONE}/git/changes`, 'without a path', ['query', 'path'], 'missing'),
  refused(`GET ${ONE}/git/changes`, 409, 'A', 'of a paused sandbox', {
    sandbox: 'PAUSED',
    query: 'path=.',
    text: 'Sandbox is paused; resume it before reading git state.',
  }),
  served(`GET ${ONE}/git/diff`, { query: 'path=a.txt', answer: { modified: 'new', original: 'old' } }),
  refused(`GET ${ONE}/git/diff`, 404, 'A', 'of an unknown one', {
    ...unknown,
    query: 'path=.',
    text: unreachable,
  }),
  served(`GET ${ONE}/skills`, {
    answer: { skills: [{ name: 'review', type: 'knowledge', triggers: ['check'] }] },
  }),
  served(`GET ${ONE}/skills`, { what: 'of a paused sandbox', sandbox: 'PAUSED', answer: { skills: [] } }),
  refused(`GET ${ONE}/skills`, 404, 'C', 'of an unknown one', unknown),
  served(`GET ${ONE}/hooks`, {
    answer: {
      hooks: [
        {
          event_type: 'pre_tool_use',
          matchers: [{ matcher: '*', hooks: [{ command: 'lint', timeout: 60 }] }],
        },
      ],
    },
  }),
  refused(`GET ${ONE}/hooks`, 404, 'C', 'of an unknown one', unknown),
  served(`GET ${ONE}/download`, {
    answered: {
      'content-type': /^application\/zip$/,
      'content-disposition':
        /^attachment; filename="conversation_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.zip"$/,
    },
  }),
  refused(`GET ${ONE}/download`, 404, 'A', 'of an unknown one', {
    ...unknown,
    text: `Conversation not found: ${UNKNOWN_DASHED}`,
  }),
  served(`GET ${TASKS}/search`, { answer: { items: [{ id: '{task_id}' }], next_page_id: null } }),
  served(`GET ${TASKS}/search`, {
    what: 'of another conversation',
    query: `conversation_id__eq=${UNKNOWN}`,
    answer: { items: [] },
  }),
  invalid(`GET ${TASKS}/search`, 'in no order', ['query', 'sort_order'], 'enum', {
    query: 'sort_order=SIDEWAYS',
  }),
  served(`GET ${TASKS}/count`, { answer: 1 }),
  invalid(`GET ${TASKS}/count`, 'of an id that is none', ['query', 'conversation_id__eq'], 'uuid_parsing', {
    query: 'conversation_id__eq=abc',
  }),
  served(`GET ${TASKS}`, {
    query: `ids=${UNKNOWN}&ids={task_id}`,
    answer: [null, { id: '{task_id}', status: 'ERROR' }],
  }),
  invalid(`GET ${TASKS}`, 'of an id that is none', ['query', 'ids', 0], 'uuid_parsing', { query: 'ids=abc' }),
  refused(`GET ${TASKS}`, 400, 'A', 'of more than a hundred', {
    query: repeated('ids', 101, UNKNOWN),
    text: 'Cannot request more than 100 start tasks at once, got 101',
  }),
  served(`GET ${TASKS}/stream`, {
    query: 'ids={task_id}',
    answered: { 'content-type': /^text\/event-stream/ },
  }),
  refused(`GET ${TASKS}/stream`, 404, 'A', 'of an unknown one', {
    query: `ids=${UNKNOWN}`,
    text: 'There is no such start task',
  }),
  served(`POST ${TASKS}/{task_id}/retry`, { answer: { detail: null } }),
  refused(`POST ${TASKS}/{task_id}/retry`, 404, 'A', 'of an unknown one', {
    parameters: { task_id: UNKNOWN },
  }),
  served(`POST ${PENDING}`, { body: { content: TEXT }, answer: { queued: true, position: 1 } }, 201),
  refused(`POST ${PENDING}`, 400, 'A', 'that is a list', { body: [], text: 'Invalid request body' }),
  refused(`POST ${PENDING}`, 400, 'A', 'without content', {
    body: { content: [] },
    text: 'content must be a non-empty list',
  }),
  served(`GET ${PENDING}`, { answer: { items: [{ id: '{message_id}', position: 1 }] } }),
  refused(`GET ${PENDING}`, 404, 'A', 'of an unknown one', unknown),
  served(`DELETE ${PENDING}/{message_id}`),
  refused(`DELETE ${PENDING}/{message_id}`, 404, 'A', 'that is not there', {
    parameters: { message_id: UNKNOWN_DASHED },
  }),
];
