import { invalid, refused, served } from './case.js';

const V1 = '/api/v1';
const GIT = `${V1}/git`;
const newcomer = { as: 'newcomer' } as const;
const github = 'provider=github';
const REPOSITORY = { full_name: 'acme/rocket', git_provider: 'github', main_branch: 'main' };
const BRANCH = { name: 'main', protected: true };
const TASK = { task_type: 'OPEN_ISSUE', repo: 'acme/rocket', issue_number: 12 };
const PERSON = { id: '1', login: 'ada' };
const page = (item: unknown) => ({ answer: { items: [item], next_page_id: null } });
const UNCONNECTED = { ...newcomer, text: 'Git provider token required (such as GitHub).' };

/** Contract 9 and 11.1. */
export const GIT_OF_1_11 = [
  served(`GET ${V1}/users/git-info`, { answer: PERSON }),
  refused(`GET ${V1}/users/git-info`, 403, 'A', 'without a token', {
    ...newcomer,
    text: 'Git provider not connected',
  }),
  served(`GET ${GIT}/installations/search`, { query: github, ...page('42') }),
  refused(`GET ${GIT}/installations/search`, 403, 'A', 'without a token', { ...UNCONNECTED, query: github }),
  invalid(`GET ${GIT}/installations/search`, 'of no provider', ['query', 'provider'], 'missing'),
  served(`GET ${GIT}/repositories/search`, { query: github, ...page(REPOSITORY) }),
  refused(`GET ${GIT}/repositories/search`, 403, 'A', 'without a token', { ...UNCONNECTED, query: github }),
  refused(`GET ${GIT}/repositories/search`, 400, 'A', 'in an order, but for no text', {
    query: `${github}&sort_order=stars-asc`,
  }),
  invalid(`GET ${GIT}/repositories/search`, 'of a provider that is none', ['query', 'provider'], 'enum', {
    query: 'provider=sourceforge',
  }),
  served(`GET ${GIT}/branches/search`, { query: `${github}&repository=acme/rocket&query=`, ...page(BRANCH) }),
  invalid(`GET ${GIT}/branches/search`, 'without a text', ['query', 'query'], 'missing', {
    query: `${github}&repository=acme/rocket`,
  }),
  served(`GET ${GIT}/suggested-tasks/search`, page(TASK)),
  refused(`GET ${GIT}/suggested-tasks/search`, 403, 'A', 'without a token', UNCONNECTED),
];

const USER = '/api/user';
const REQUIRED = { ...newcomer, text: 'Git provider token required. (such as GitHub).' };
const MICROAGENTS = `${USER}/repository/{repository_name}/microagents`;
/** Contract 16.1. */
export const GIT_OF_2025_11 = [
  served(`GET ${USER}/info`, { answer: PERSON }),
  refused(`GET ${USER}/info`, 401, 'D', 'without a token', REQUIRED),
  served(`GET ${USER}/installations`, { query: github, answer: ['42'] }),
  refused(`GET ${USER}/installations`, 401, 'D', 'without a token', { ...REQUIRED, query: github }),
  served(`GET ${USER}/repositories`, { answer: [REPOSITORY] }),
  refused(`GET ${USER}/repositories`, 401, 'D', 'without a token', REQUIRED),
  served(`GET ${USER}/search/repositories`, { query: 'query=rocket', answer: [REPOSITORY] }),
  refused(`GET ${USER}/search/repositories`, 401, 'D', 'without a token', {
    ...newcomer,
    query: 'query=rocket',
    text: 'Git provider token required.',
  }),
  served(`GET ${USER}/search/branches`, { query: 'repository=acme/rocket&query=m', answer: [BRANCH] }),
  refused(`GET ${USER}/search/branches`, 401, 'D', 'without a token', {
    ...newcomer,
    query: 'repository=acme/rocket&query=m',
    text: 'Git provider token required.',
  }),
  served(`GET ${USER}/suggested-tasks`, { answer: [TASK] }),
  refused(`GET ${USER}/suggested-tasks`, 401, 'D', 'without a token', {
    ...newcomer,
    text: 'No providers set.',
  }),
  served(`GET ${USER}/repository/branches`, {
    query: 'repository=acme/rocket',
    answer: { branches: [BRANCH], has_next_page: false, current_page: 1, per_page: 30 },
  }),
  refused(`GET ${USER}/repository/branches`, 401, 'D', 'without a token', {
    ...REQUIRED,
    query: 'repository=acme/rocket',
  }),
  served(`GET ${MICROAGENTS}`, {
    answer: [{ name: 'review', path: '.openhands/microagents/review.md', git_provider: 'github' }],
  }),
  refused(`GET ${MICROAGENTS}`, 401, 'A', 'of nobody', { as: 'nobody' }),
  served(`GET ${MICROAGENTS}/content`, {
    query: 'file_path=.openhands/microagents/review.md',
    answer: { content: 'Look closely.', triggers: ['check'], git_provider: 'github' },
  }),
  invalid(`GET ${MICROAGENTS}/content`, 'of no file', ['query', 'file_path'], 'missing'),
];

/** Contract 11.2 to 11.4 and 16.8. */
export const CHOICES = [
  served(`GET ${V1}/config/models/search`, { query: 'limit=1' }),
  served(`GET ${V1}/config/models/search`, {
    what: 'of no such name',
    query: 'query=no-such-model',
    answer: { items: [] },
  }),
  invalid(
    `GET ${V1}/config/models/search`,
    'with a switch that is none',
    ['query', 'verified__eq'],
    'bool_parsing',
    {
      query: 'verified__eq=maybe',
    },
  ),
  served(`GET ${V1}/config/providers/search`, {
    query: 'query=openhands',
    answer: { items: [{ name: 'openhands' }] },
  }),
  invalid(`GET ${V1}/config/providers/search`, 'with no limit left', ['query', 'limit'], 'greater_than', {
    query: 'limit=0',
  }),
  served(`GET ${V1}/skills/search`),
  invalid(`GET ${V1}/skills/search`, 'with no limit left', ['query', 'limit'], 'greater_than', {
    query: 'limit=0',
  }),
  served(`POST ${V1}/skills/marketplace-skills`, {
    body: [],
    answer: { skills: [], plugins: [], errors: [] },
  }),
  invalid(`POST ${V1}/skills/marketplace-skills`, 'that are no list', ['body'], 'list_type', { body: {} }),
  served(`GET ${V1}/web-client/config`, {
    as: 'nobody',
    answer: { kind: 'WebClientConfig', posthog_client_key: null },
  }),
  served('GET /api/options/config', {
    as: 'nobody',
    answer: { POSTHOG_CLIENT_KEY: null, FEATURE_FLAGS: {} },
  }),
  served('GET /api/options/models'),
  served('GET /api/options/agents', { answer: ['CodeActAgent'] }),
  served('GET /api/options/security-analyzers'),
  ...['models', 'agents', 'security-analyzers'].map((what) =>
    refused(`GET /api/options/${what}`, 401, 'A', 'of nobody', { as: 'nobody' }),
  ),
];
