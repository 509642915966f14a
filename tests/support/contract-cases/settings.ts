import { invalid, refused, served } from './case.js';

const V1 = '/api/v1';
const SETTINGS = `${V1}/settings`;
const PROFILES = `${SETTINGS}/profiles`;
const PROFILE = `${PROFILES}/{name}`;
const newcomer = { as: 'newcomer' } as const;
const other = { parameters: { name: 'other' } };
const noProfile = { ...other, text: "Profile 'other' not found" };
const said = (message: string) => ({ answer: { message } });

/** Contract 9 and 10.1 to 10.2. */
export const SETTINGS_OF_1_11 = [
  served(`GET ${SETTINGS}`, {
    answer: {
      language: 'en',
      llm_api_key_set: false,
      provider_tokens_set: { github: null },
      search_api_key: null,
    },
  }),
  refused(`GET ${SETTINGS}`, 404, 'C', 'before any are stored', { ...newcomer, text: 'Settings not found' }),
  served(`POST ${SETTINGS}`, { body: { language: 'de' }, ...said('Settings stored') }),
  refused(`POST ${SETTINGS}`, 422, 'C', 'with whole settings of the agent', {
    body: { agent_settings: {} },
    answer: { error: 'Use *_diff nested settings payloads instead of legacy keys', keys: ['agent_settings'] },
  }),
  refused(`POST ${SETTINGS}`, 400, 'C', 'with a value that is none', {
    body: { sandbox_grouping_strategy: 'NONE' },
  }),
  invalid(`POST ${SETTINGS}`, 'that are a list', ['body'], 'dict_type', { body: [] }),
  served(`GET ${SETTINGS}/agent-schema`, { answer: { model_name: 'AgentSettings' } }),
  served(`GET ${SETTINGS}/conversation-schema`),
  ...['agent', 'conversation'].map((of) =>
    refused(`GET ${SETTINGS}/${of}-schema`, 401, 'A', 'of nobody', { as: 'nobody' }),
  ),
  served(`GET ${PROFILES}`, {
    answer: { profiles: [{ name: 'saved', api_key_set: true }], active_profile: null },
  }),
  refused(`GET ${PROFILES}`, 401, 'A', 'of nobody', { as: 'nobody' }),
  served(`GET ${PROFILE}`, { answer: { name: 'saved', config: { api_key: null }, api_key_set: true } }),
  refused(`GET ${PROFILE}`, 404, 'A', 'that is not there', noProfile),
  invalid(`GET ${PROFILE}`, 'of no name', ['path', 'name'], 'string_pattern_mismatch', {
    parameters: { name: '!' },
  }),
  served(`POST ${PROFILE}`, { answer: { name: 'saved', message: "Profile 'saved' saved" } }, 201),
  invalid(`POST ${PROFILE}`, 'with a member that is none', ['body', 'llm', 'x'], 'extra_forbidden', {
    body: { llm: { model: 'm', x: 1 } },
  }),
  refused(`POST ${PROFILE}`, 404, 'A', 'before any settings are stored', {
    ...newcomer,
    text: 'Settings not found',
  }),
  served(`DELETE ${PROFILE}`, { answer: { name: 'saved', message: "Profile 'saved' deleted" } }),
  served(`DELETE ${PROFILE}`, { what: 'that is not there', ...other, answer: { name: 'other' } }),
  invalid(`DELETE ${PROFILE}`, 'of no name', ['path', 'name'], 'string_pattern_mismatch', {
    parameters: { name: '!' },
  }),
  served(`POST ${PROFILE}/activate`, {
    answer: { name: 'saved', message: "Switched to profile 'saved'", model: 'openai/gpt-5' },
  }),
  refused(`POST ${PROFILE}/activate`, 404, 'A', 'that is not there', noProfile),
  served(`POST ${PROFILE}/rename`, {
    body: { new_name: 'new' },
    answer: { name: 'new', message: "Profile 'saved' renamed to 'new'" },
  }),
  refused(`POST ${PROFILE}/rename`, 404, 'A', 'that is not there', {
    ...noProfile,
    body: { new_name: 'new' },
  }),
  served(`GET ${V1}/users/me`, {
    answer: { id: '{user_id}', language: 'en', secrets_store: { provider_tokens: {} } },
  }),
  served(`GET ${V1}/users/me`, {
    what: 'before any settings are stored',
    ...newcomer,
    answer: { language: null },
  }),
  refused(`GET ${V1}/users/me`, 401, 'A', 'with secrets and no key of a sandbox', {
    query: 'expose_secrets=true',
    text: 'X-Session-API-Key header is required',
  }),
];

const SECRETS = `${V1}/secrets`;
const value = 'x';
const noSecret = { parameters: { secret_id: 'NONE' } };
const TOKENS = { provider_tokens: { github: { token: 'a new one' } } };
const unknownProvider = { body: { provider_tokens: { sourceforge: { token: 't' } } } };
/** Contract 10.3. */
export const SECRETS_OF_1_11 = [
  served(`GET ${SECRETS}/search`, {
    answer: { items: [{ name: 'A_SECRET', description: null }], next_page_id: null },
  }),
  invalid(`GET ${SECRETS}/search`, 'with too high a limit', ['query', 'limit'], 'less_than_equal', {
    query: 'limit=101',
  }),
  served(`POST ${SECRETS}`, { body: { name: 'NEW', value }, ...said('Secret created successfully') }, 201),
  served(
    `POST ${SECRETS}`,
    {
      what: 'over one that is there',
      body: { name: 'A_SECRET', value },
      ...said('Secret created successfully'),
    },
    201,
  ),
  invalid(`POST ${SECRETS}`, 'without a value', ['body', 'value'], 'missing', { body: { name: 'NEW' } }),
  served(`PUT ${SECRETS}/{secret_id}`, { body: { name: 'RENAMED' }, ...said('Secret updated successfully') }),
  refused(`PUT ${SECRETS}/{secret_id}`, 404, 'A', 'that is not there', {
    ...noSecret,
    body: { name: 'RENAMED' },
    text: 'Secret with ID NONE not found',
  }),
  served(`DELETE ${SECRETS}/{secret_id}`, said('Secret deleted successfully')),
  refused(`DELETE ${SECRETS}/{secret_id}`, 404, 'A', 'that is not there', {
    ...noSecret,
    text: 'Secret with ID NONE not found',
  }),
  served(`POST ${SECRETS}/git-providers`, { body: TOKENS, ...said('Git providers stored') }),
  refused(`POST ${SECRETS}/git-providers`, 422, 'B', 'of a provider that is none', unknownProvider),
  served(`DELETE ${SECRETS}/git-providers`, said('Unset Git provider tokens')),
  refused(`DELETE ${SECRETS}/git-providers`, 401, 'A', 'of nobody', { as: 'nobody' }),
];

/** Contract 16.9 and 16.10. */
export const SETTINGS_OF_2025_11 = [
  served('GET /api/settings', {
    answer: { language: 'en', llm_api_key_set: false, provider_tokens_set: { github: null } },
  }),
  refused('GET /api/settings', 404, 'C', 'before any are stored', {
    ...newcomer,
    text: 'Settings not found',
  }),
  served('POST /api/settings', { body: { language: 'de', made_up: 1 }, ...said('Settings stored') }),
  refused('POST /api/settings', 422, 'B', 'with too small a condenser', { body: { condenser_max_size: 19 } }),
  refused('POST /api/reset-settings', 410, 'C', '', {
    text: 'Reset settings functionality has been removed.',
  }),
  served('GET /api/secrets', { answer: { custom_secrets: [{ name: 'A_SECRET' }] } }),
  refused('GET /api/secrets', 401, 'A', 'of nobody', { as: 'nobody' }),
  served('POST /api/secrets', { body: { name: 'NEW', value }, ...said('Secret created successfully') }, 201),
  refused('POST /api/secrets', 400, 'E', 'of a name that is taken', {
    body: { name: 'A_SECRET', value },
    text: 'Secret A_SECRET already exists',
  }),
  served('PUT /api/secrets/{secret_id}', { body: { name: 'RENAMED' } }),
  served('DELETE /api/secrets/{secret_id}'),
  ...['PUT', 'DELETE'].map((method) =>
    refused(`${method} /api/secrets/{secret_id}`, 404, 'C', 'that is not there', {
      ...noSecret,
      ...(method === 'PUT' ? { body: { name: 'RENAMED' } } : {}),
      text: 'Secret with ID NONE not found',
    }),
  ),
  served('POST /api/add-git-providers', { body: TOKENS, ...said('Git providers stored') }),
  refused('POST /api/add-git-providers', 422, 'B', 'of a provider that is none', unknownProvider),
  served('POST /api/unset-provider-tokens', said('Unset Git provider tokens')),
  refused('POST /api/unset-provider-tokens', 401, 'A', 'of nobody', { as: 'nobody' }),
];
