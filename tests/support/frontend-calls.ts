/**
 * The calls of the 2025-11 web client as data, in the order in which a page makes them: what is sent where, and which members of
 * the answer the page reads. The numbers are those of the client's own list of calls.
 */
import { join } from 'node:path';
import { expect } from 'vitest';
import { eachOf, type FrontendCall, type Json, type Page } from './frontend-call.js';
import { PICKING } from './frontend-git-calls.js';

const CONVERSATION = [
  'conversation_id',
  'title',
  'selected_repository',
  'selected_branch',
  'git_provider',
  'last_updated_at',
  'created_at',
  'status',
  'runtime_status',
  'trigger',
  'url',
  'session_api_key',
  'pr_number',
  'conversation_version',
  'sub_conversation_ids',
];

const isReady = (body: unknown) => {
  const status = (body as Json[])[0]?.['status'];
  if (status === 'ERROR') throw new Error(`the start failed: ${JSON.stringify(body)}`);
  expect(status).toBe('READY');
};
const isRunning = (body: unknown) => {
  expect(body).toMatchObject({
    status: 'RUNNING',
    runtime_status: 'STATUS$READY',
    conversation_version: 'V1',
    url: expect.stringMatching(/^http/) as string,
    session_api_key: expect.stringMatching(/./) as string,
  });
};
const openConversation = (page: Page, body: unknown) => {
  page.url = String((body as Json)['url']);
  page.key = String((body as Json)['session_api_key']);
};
const inWorkspace = ({ directory, sandboxId }: Page, name: string) =>
  encodeURIComponent(join(directory, 'host', 'sandboxes', sandboxId, 'workspace', 'project', name));

/** The whole form, as the settings page sends it. */
const wholeSettings = ({ modelUrl }: Page) => ({
  llm_model: 'openai/scripted',
  llm_base_url: modelUrl,
  llm_api_key: 'sk-scripted',
  agent: 'CodeActAgent',
  language: 'en',
  confirmation_mode: true,
  security_analyzer: null,
  remote_runtime_resource_factor: 1,
  provider_tokens_set: {},
  enable_default_condenser: true,
  condenser_max_size: 120,
  enable_sound_notifications: false,
  enable_proactive_conversation_starters: false,
  enable_solvability_analysis: false,
  user_consents_to_analytics: false,
  search_api_key: '',
  max_budget_per_task: null,
  email: '',
  email_verified: true,
  mcp_config: { sse_servers: [], stdio_servers: [], shttp_servers: [] },
  git_user_name: 'openhands',
  git_user_email: 'openhands@all-hands.dev',
});

const SETTINGS = [
  ...Object.keys(wholeSettings({} as Page)).filter((name) => name !== 'llm_api_key'),
  'llm_api_key_set',
  'search_api_key_set',
];

const LOADING: readonly FrontendCall[] = [
  {
    call: '1 the page loads',
    request: 'GET /api/options/config',
    reads: [
      'APP_MODE',
      'GITHUB_CLIENT_ID',
      'POSTHOG_CLIENT_KEY',
      ...eachOf('FEATURE_FLAGS', [
        'ENABLE_BILLING',
        'HIDE_LLM_SETTINGS',
        'ENABLE_JIRA',
        'ENABLE_JIRA_DC',
        'ENABLE_LINEAR',
      ]),
    ],
    until: (body) => expect((body as Json)['APP_MODE']).toBe('oss'),
  },
  { call: '2 it asks whether somebody is signed in', request: 'POST /api/authenticate', status: 200 },
  { call: '9 a new user has no settings', request: 'GET /api/settings', status: 404 },
  {
    call: '27 the list is empty',
    request: 'GET /api/conversations?limit=20',
    reads: ['results', 'next_page_id'],
    until: (body) => expect(body).toEqual({ results: [], next_page_id: null }),
  },
];

const SETTING_UP: readonly FrontendCall[] = [
  { call: '11 models', request: 'GET /api/options/models', reads: ['[]'] },
  { call: '11 agents', request: 'GET /api/options/agents', reads: ['[]'] },
  { call: '11 analyzers', request: 'GET /api/options/security-analyzers', reads: ['[]'] },
  { call: '10 settings are saved', request: 'POST /api/settings', body: wholeSettings, status: 200 },
  {
    call: '9 and read again',
    request: 'GET /api/settings',
    reads: SETTINGS,
    until: (body) =>
      expect(body).toMatchObject({
        llm_model: 'openai/scripted',
        llm_api_key_set: true,
        confirmation_mode: true,
      }),
  },
  {
    call: '13 a secret is made',
    request: 'POST /api/secrets',
    body: () => ({ name: 'DEPLOY_KEY', value: 'x', description: 'for deploying' }),
    status: 201,
  },
  {
    call: '13 not twice',
    request: 'POST /api/secrets',
    body: () => ({ name: 'DEPLOY_KEY', value: 'y' }),
    status: 400,
    reads: ['message'],
  },
  {
    call: '14 it is described anew',
    request: 'PUT /api/secrets/DEPLOY_KEY',
    body: () => ({ name: 'DEPLOY_KEY', description: 'for all' }),
    status: 200,
  },
  {
    call: '12 secrets are listed',
    request: 'GET /api/secrets',
    reads: ['custom_secrets.[].name', 'custom_secrets.[].description'],
  },
  { call: '15 it is deleted', request: 'DELETE /api/secrets/DEPLOY_KEY', status: 200 },
  { call: '15 not twice', request: 'DELETE /api/secrets/DEPLOY_KEY', status: 404, reads: ['error'] },
  {
    call: '16 tokens that are left empty stay as they are',
    request: 'POST /api/add-git-providers',
    body: () => ({ provider_tokens: { github: { token: '', host: '' } } }),
  },
];

const STARTING: readonly FrontendCall[] = [
  {
    call: '38 a conversation is started',
    request: 'POST /api/v1/app-conversations',
    body: () => ({
      git_provider: null,
      title: 'Instructions of the user',
      trigger: 'gui',
      parent_conversation_id: null,
      agent_type: 'default',
      initial_message: { role: 'user', content: [{ type: 'text', text: 'Write hello.txt, please' }] },
    }),
    reads: ['id', 'agent_server_url'],
    keep: (page, body) => (page.task = String((body as Json)['id'])),
  },
  {
    call: '40 the panel has it, also after a reload',
    request: () =>
      `GET /api/v1/app-conversations/start-tasks/search?limit=10&created_at__gte=${new Date(Date.now() - 1_200_000).toISOString()}`,
    reads: [
      ...eachOf('items.[]', ['id', 'status', 'created_at']),
      ...eachOf('items.[].request', ['selected_repository', 'selected_branch', 'git_provider']),
    ],
  },
  {
    call: '39 its page waits',
    request: ({ task }) => `GET /api/v1/app-conversations/start-tasks?ids=${task}`,
    reads: [
      ...eachOf('[]', ['status', 'detail', 'app_conversation_id']),
      ...eachOf('[].request', ['selected_repository', 'selected_branch', 'git_provider']),
    ],
    until: isReady,
    keep: (page, body) => (page.id = String((body as Json[])[0]?.['app_conversation_id'])),
  },
  {
    call: '29 the conversation opens',
    request: ({ id }) => `GET /api/conversations/${id}`,
    reads: CONVERSATION,
    until: isRunning,
    keep: openConversation,
  },
  {
    call: '35 which sandbox is it in',
    request: ({ id }) => `GET /api/conversations/${id}/config`,
    reads: ['runtime_id'],
    keep: (page, body) => (page.sandboxId = String((body as Json)['runtime_id'])),
  },
  {
    call: '44 what does it expose',
    request: ({ sandboxId }) => `GET /api/v1/sandboxes?id=${sandboxId}`,
    reads: ['[].exposed_urls.[].name', '[].exposed_urls.[].url'],
  },
];

const CONFIRMING: readonly FrontendCall[] = [
  {
    call: '49 the user agrees',
    request: ({ id }) => `POST /api/conversations/${id}/events/respond_to_confirmation`,
    runtime: true,
    body: () => ({ accept: true }),
    reads: ['success'],
  },
];

const LOOKING: readonly FrontendCall[] = [
  {
    call: '50 a file is attached',
    request: (page) => `POST /api/file/upload/${inWorkspace(page, 'attached.txt')}`,
    runtime: true,
    body: () => {
      const form = new FormData();
      form.append('file', new Blob(['attached']), 'attached.txt');
      return form;
    },
  },
  {
    call: '51 what has changed',
    request: (page) => `GET /api/git/changes/${inWorkspace(page, '')}`,
    runtime: true,
    reads: ['[].status', '[].path'],
  },
  {
    call: '52 and how',
    request: (page) => `GET /api/git/diff/${inWorkspace(page, 'hello.txt')}`,
    runtime: true,
    reads: ['modified', 'original'],
    until: (body) => expect(body).toMatchObject({ modified: expect.stringContaining('hi') as string }),
  },
  {
    // Local sandboxes have no editor, nor addresses of apps (54): the tab shows that there is none.
    call: '53 where is the editor, in the older way',
    request: 'GET /api/vscode/url',
    runtime: true,
    status: 503,
  },
  {
    call: '36 a message over REST',
    request: ({ id }) => `POST /api/conversations/${id}/events`,
    body: () => ({ role: 'user', content: [{ type: 'text', text: 'sent over REST' }] }),
    reads: ['role', 'content'],
  },
  {
    call: '47 the agent is paused',
    request: ({ id }) => `POST /api/conversations/${id}/pause`,
    runtime: true,
    body: () => ({}),
    reads: ['success'],
  },
  {
    call: '48 and goes on',
    request: ({ id }) => `POST /api/conversations/${id}/run`,
    runtime: true,
    body: () => ({}),
    // Agent-servers refuse it while the run that was paused is still ending.
    until: (body) => expect(body).toMatchObject({ success: true }),
  },
  {
    call: '30 a new title',
    request: ({ id }) => `PATCH /api/conversations/${id}`,
    body: () => ({ title: 'A title of my own' }),
    until: (body) => expect(body).toBe(true),
  },
];

const PLANNING: readonly FrontendCall[] = [
  {
    call: '38 a plan is asked for beside it',
    request: 'POST /api/v1/app-conversations',
    body: ({ id }) => ({ parent_conversation_id: id, agent_type: 'plan' }),
    reads: ['id'],
    keep: (page, body) => (page.childTask = String((body as Json)['id'])),
  },
  {
    call: '39 until it is there',
    request: ({ childTask }) => `GET /api/v1/app-conversations/start-tasks?ids=${childTask}`,
    until: isReady,
    keep: (page, body) => (page.child = String((body as Json[])[0]?.['app_conversation_id'])),
  },
  {
    call: '29 the parent names it',
    request: ({ id }) => `GET /api/conversations/${id}`,
    reads: ['sub_conversation_ids.[]'],
  },
  {
    call: '41 and it is found by that id',
    request: ({ child }) => `GET /api/v1/app-conversations?ids=${child}`,
    reads: eachOf('[]', ['id', 'sandbox_id', 'conversation_url', 'session_api_key']),
  },
];

const SLEEPING: readonly FrontendCall[] = [
  {
    call: '41 which sandbox is to stop',
    request: ({ id }) => `GET /api/v1/app-conversations?ids=${id}`,
    reads: eachOf('[]', ['id', 'sandbox_id', 'conversation_url', 'session_api_key']),
  },
  {
    call: '42 it is paused',
    request: ({ sandboxId }) => `POST /api/v1/sandboxes/${sandboxId}/pause`,
    body: () => ({}),
    reads: ['success'],
  },
  {
    call: '29 and the conversation has stopped',
    request: ({ id }) => `GET /api/conversations/${id}`,
    until: (body) => expect(body).toMatchObject({ status: 'STOPPED', url: null, session_api_key: null }),
  },
  {
    call: '43 it is resumed',
    request: ({ sandboxId }) => `POST /api/v1/sandboxes/${sandboxId}/resume`,
    body: () => ({}),
    reads: ['success'],
  },
  {
    call: '29 and the conversation runs again',
    request: ({ id }) => `GET /api/conversations/${id}`,
    until: isRunning,
    keep: openConversation,
  },
  {
    call: '34 the older way to stop',
    request: ({ id }) => `POST /api/conversations/${id}/stop`,
  },
  {
    call: '33 and to start',
    request: ({ id }) => `POST /api/conversations/${id}/start`,
    body: () => ({ providers_set: [] }),
  },
];

const LEAVING: readonly FrontendCall[] = [
  {
    call: '32 a microagent is launched the older way',
    request: 'POST /api/conversations',
    body: () => ({
      initial_user_msg: 'Write a microagent',
      create_microagent: { repo: 'o/r', git_provider: 'github' },
    }),
    reads: ['conversation_id', 'status'],
    keep: (page, body) => (page.other = String((body as Json)['conversation_id'])),
  },
  {
    call: '29 its page waits, or tells that it failed',
    request: ({ other }) => `GET /api/conversations/${other}`,
    reads: CONVERSATION,
  },
  { call: '31 and is deleted', request: ({ other }) => `DELETE /api/conversations/${other}` },
  {
    call: '37 nothing is left of it',
    request: 'GET /api/microagent-management/conversations?selected_repository=o/r&limit=100',
    until: (body) => expect(body).toEqual({ results: [], next_page_id: null }),
  },
  {
    call: '27 the panel lists the other',
    request: 'GET /api/conversations?limit=20',
    reads: ['next_page_id', ...eachOf('results.[]', CONVERSATION)],
    until: (body) => expect(body).toMatchObject({ results: [{ title: 'A title of my own' }] }),
  },
  {
    call: '28 by what began it',
    request: 'GET /api/conversations?limit=100&conversation_trigger=gui',
    reads: ['results.[].title'],
  },
  {
    call: '31 it is deleted',
    request: ({ id }) => `DELETE /api/conversations/${id}`,
    until: (body) => expect(body).toBe(true),
  },
  {
    call: '27 and listed no more',
    request: 'GET /api/conversations?limit=20',
    until: (body) => expect(body).toEqual({ results: [], next_page_id: null }),
  },
  {
    call: '29 nor found',
    request: ({ id }) => `GET /api/conversations/${id}`,
    until: (body) => expect(body).toBeNull(),
  },
  { call: '5 tokens are forgotten', request: 'POST /api/unset-provider-tokens' },
  { call: '4 and the user leaves', request: 'POST /api/logout' },
];

/** The calls of one visit, in parts between which the page uses its sockets. */
export const VISIT = {
  LOADING,
  SETTING_UP,
  PICKING,
  STARTING,
  CONFIRMING,
  LOOKING,
  PLANNING,
  SLEEPING,
  LEAVING,
};
