import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildStartRequest, type RequestInputs } from '../../../activities/start/request-builder.js';
import { allSecrets, providerSecrets } from '../../../activities/start/secret-sources.js';
import { skillPayload } from '../../../contract/skill.js';
import { Settings } from '../../../contract/settings.js';
import { StartRequest } from '../../../contract/start-task.js';
import { AccessTokens } from '../../../identity/access-token.js';

type Json = Record<string, unknown>;

const fixture = (name: string): Json =>
  JSON.parse(readFileSync(new URL(`../../fixtures/start/${name}`, import.meta.url), 'utf8')) as Json;
const recorded = fixture('request.json');
const recordedWithUrl = fixture('request.web-url.parts.json');

const LLM = { model: 'openai/scripted', api_key: 'sk-test', base_url: 'http://127.0.0.1:9998/v1' };
const USABLE = [
  'file_editor',
  'task_tool_set',
  'task_tracker',
  'terminal',
  'browser_tool_set',
  'glob',
  'grep',
];

interface Given {
  request?: Partial<Record<keyof StartRequest, unknown>>;
  settings?: Json;
  inputs?: Partial<RequestInputs>;
}

function build({ request = {}, settings = {}, inputs = {} }: Given = {}) {
  const plan = buildStartRequest({
    conversationId: '8065577f92a947ebb20f02dd9422da29',
    userId: null,
    request: StartRequest.parse(request),
    settings: Settings.parse({ agent_settings: { llm: LLM }, ...settings }),
    projectDirectory: '/workspace/project',
    gitProvider: null,
    usableTools: USABLE,
    skills: [],
    hookConfig: null,
    secrets: {},
    setup: null,
    publicUrl: null,
    now: new Date('2026-11-21T23:34:16.786Z'),
    ...inputs,
  });
  return { ...plan, agent: plan.body['agent'] as Json & { agent_context: Json } };
}

const toolNames = (agent: Json) => (agent['tools'] as { name: string }[]).map(({ name }) => name);
const suffixOf = ({ agent }: ReturnType<typeof build>) =>
  agent.agent_context['system_message_suffix'] as string;

describe('the body of a start', () => {
  it('says what the recorded one says, in its form', () => {
    const { body } = build({
      request: { initial_message: { content: [{ type: 'text', text: 'Create hello.txt' }], run: true } },
      settings: { llm_profiles: { profiles: { fast: LLM, smart: LLM } } },
      inputs: {
        skills: [
          skillPayload({
            name: 'agents',
            content: '# Project notes\n',
            triggers: [],
            source: '/workspace/project/AGENTS.md',
          }),
          skillPayload({
            name: 'greeting',
            content: 'Say hello politely.',
            triggers: ['hello'],
            source: '/workspace/project/.openhands/skills/greeting.md',
          }),
        ],
        hookConfig: recorded['hook_config'] as Json,
        secrets: allSecrets(
          new Map([['MY_SECRET', { value: 'a-test-secret-value', description: 'a test secret' }]]),
          {},
          {},
        ),
      },
    });
    const context = (body['agent'] as { agent_context: Json }).agent_context;
    expect(context['current_datetime']).toBe('2026-11-21T23:34:16.786Z');
    delete context['current_datetime'];
    expect(recorded).toMatchObject(body);
  });

  it('with a public address is the recorded one, too', async () => {
    const publicUrl = 'http://127.0.0.1:3000';
    const tokens = new Map([['github', { token: 'ghp', host: null, userId: null }]] as const);
    const { body } = build({
      inputs: {
        conversationId: '750a75d2-ea55-4818-9f13-7ed90aabc5c3',
        publicUrl,
        secrets: allSecrets(
          new Map(),
          await providerSecrets(tokens, {
            publicUrl,
            userId: null,
            accessTokens: { issue: () => Promise.resolve('JWT') },
            organizationId: null,
          }),
          { API_SECRET: 'from-request' },
        ),
      },
    });
    const { note: _note, ...parts } = recordedWithUrl;
    expect(body).toMatchObject(parts);
  });

  it('names no marketplaces, whose null the agent-server refuses', () => {
    expect(JSON.stringify(build().body)).not.toContain('registered_marketplaces');
  });

  it('has only tags that the agent-server takes, while the row keeps all', () => {
    const { body, tags } = build({
      request: { selected_repository: 'owner/name', selected_branch: 'main' },
      inputs: { gitProvider: 'gitlab', setup: { exitCode: 3, timedOut: false, tail: 'boom' } },
    });
    expect(tags).toEqual({
      repo_name: 'owner/name',
      git_provider: 'gitlab',
      selected_branch: 'main',
      setupexitcode: '3',
    });
    expect(body['tags']).toEqual({ setupexitcode: '3' });
    for (const key of Object.keys(body['tags'] as Json)) expect(key).toMatch(/^[a-z0-9]+$/);
  });

  it('takes the model of the request over that of the settings, with the key of the settings', () => {
    const { agent, llmModel } = build({ request: { llm_model: 'openai/other' } });
    expect(agent['llm']).toMatchObject({
      model: 'openai/other',
      api_key: 'sk-test',
      usage_id: 'agent',
      stream: true,
    });
    expect(agent['condenser']).toMatchObject({
      llm: { model: 'openai/other', usage_id: 'condenser', stream: false },
    });
    expect(llmModel).toBe('openai/other');
  });

  it('asks for a browser only where there is one', () => {
    expect(toolNames(build().agent)).toEqual(['terminal', 'file_editor', 'task_tracker', 'browser_tool_set']);
    const without = build({ inputs: { usableTools: ['terminal', 'file_editor', 'task_tracker'] } });
    expect(toolNames(without.agent)).toEqual(['terminal', 'file_editor', 'task_tracker']);
    expect(toolNames(build({ inputs: { usableTools: null } }).agent)).toEqual([
      'terminal',
      'file_editor',
      'task_tracker',
    ]);
    const asked = build({
      settings: { agent_settings: { tools: [{ name: 'browser_tool_set' }, { name: 'terminal' }] } },
      inputs: { usableTools: ['terminal'] },
    });
    expect(toolNames(asked.agent)).toEqual(['terminal']);
  });

  it('gives the agent what the settings allow: sub-agents, switching of models, a bare agent', () => {
    const sub = build({ settings: { agent_settings: { enable_sub_agents: true } } });
    expect(toolNames(sub.agent)).toContain('task_tool_set');
    expect(toolNames(build({ settings: { agent_settings: { tools: [] } } }).agent)).toEqual([]);
    const profiles = { llm_profiles: { profiles: { a: LLM, b: LLM } } };
    expect(build({ settings: profiles }).agent['include_default_tools']).toContain('SwitchLLMTool');
    const off = { ...profiles, agent_settings: { enable_switch_llm_tool: false } };
    expect(build({ settings: off }).agent['include_default_tools']).toEqual(['FinishTool', 'ThinkTool']);
  });

  it.each([
    [{ confirmation_mode: false }, 'NeverConfirm', { kind: 'LLMSecurityAnalyzer' }],
    [{ confirmation_mode: true }, 'ConfirmRisky', { kind: 'LLMSecurityAnalyzer' }],
    [{ confirmation_mode: true, security_analyzer: 'none' }, 'AlwaysConfirm', null],
    [{ confirmation_mode: true, security_analyzer: null }, 'AlwaysConfirm', null],
  ])('with the conversation settings %j confirms by %s', (conversation_settings, policy, analyzer) => {
    const { body } = build({ settings: { conversation_settings } });
    expect(body['confirmation_policy']).toEqual({ kind: policy });
    expect(body['security_analyzer']).toEqual(analyzer);
  });

  it('has the condenser of the settings', () => {
    const agentWith = (condenser: Json) => build({ settings: { agent_settings: { condenser } } }).agent;
    expect(agentWith({ enabled: false })['condenser']).toBeNull();
    expect(agentWith({ condenser_kind: 'no_op' })['condenser']).toEqual({ kind: 'NoOpCondenser' });
    expect(agentWith({ max_size: 50 })['condenser']).toMatchObject({ max_size: 50, keep_first: 2 });
  });

  it('has a critic with a key only', () => {
    const verification = { critic_enabled: true, enable_iterative_refinement: true };
    expect(build({ settings: { agent_settings: { verification } } }).agent['critic']).toBeNull();
    const { agent } = build({ settings: { agent_settings: { llm: LLM, verification } } });
    expect(agent['critic']).toEqual({
      kind: 'APIBasedCritic',
      api_key: 'sk-test',
      mode: 'finish_and_message',
      iterative_refinement: { success_threshold: 0.6, max_iterations: 3 },
    });
  });

  it('puts the servers of the user over the one of this instance', () => {
    const mcp_config = { default: { url: 'http://mine' }, other: { command: 'npx', args: ['x'] } };
    const { agent } = build({
      settings: { agent_settings: { mcp_config } },
      inputs: { publicUrl: 'https://callboard.example.com' },
    });
    expect(agent['mcp_config']).toEqual(mcp_config);
  });

  it('tells the agent where it is reached, that history is missing, and that the setup failed', () => {
    const suffix = suffixOf(
      build({
        request: { system_message_suffix: 'Be brief.', selected_repository: 'owner/name' },
        inputs: {
          publicUrl: 'https://callboard.example.com',
          setup: { exitCode: 2, timedOut: false, tail: 'npm: not found' },
        },
      }),
    );
    expect(suffix.startsWith('Be brief.')).toBe(true);
    expect(suffix).toContain('<HOST>\nhttps://callboard.example.com\n</HOST>');
    expect(suffix).toContain('--unshallow');
    expect(suffix).toContain('exit code 2');
    expect(suffix).toContain('npm: not found');
    const full = build({ request: { selected_repository: 'o/n' }, settings: { git_full_clone: true } });
    expect(suffixOf(full)).toBeNull();
  });

  it('hands plugins over without their parameters, which are in the message', () => {
    const plugins = [{ source: 'github:o/p', ref: 'v1', repo_path: 'a', parameters: { x: 1 } }];
    expect(build({ request: { plugins } }).body['plugins']).toEqual([
      { source: 'github:o/p', ref: 'v1', repo_path: 'a' },
    ]);
  });
});

describe('the plan agent', () => {
  it('has tools that read and one that writes the plan', () => {
    const { agent } = build({ request: { agent_type: 'plan' } });
    expect(agent['tools']).toEqual([
      { name: 'glob', params: {} },
      { name: 'grep', params: {} },
      { name: 'planning_file_editor', params: { plan_path: '/workspace/project/.agents_tmp/PLAN.md' } },
    ]);
    expect(agent['system_prompt_filename']).toBe('system_prompt_planning.j2');
    expect(Object.keys(agent['system_prompt_kwargs'] as Json)).toEqual(['plan_structure']);
    expect(agent['condenser']).toMatchObject({
      max_size: 100,
      keep_first: 6,
      llm: { usage_id: 'planning_condenser' },
    });
  });

  it.each(['gitlab', 'azure_devops'] as const)('writes where %s allows it', (gitProvider) => {
    const { agent } = build({ request: { agent_type: 'plan' }, inputs: { gitProvider } });
    expect(JSON.stringify(agent['tools'])).toContain('/workspace/project/agents-tmp-config/PLAN.md');
  });

  it('is told first of all that it only plans', () => {
    const plan = build({ request: { agent_type: 'plan', system_message_suffix: 'Be brief.' } });
    expect(suffixOf(plan)).toMatch(/^<PLANNING_BOUNDARY>[^]*<\/PLANNING_BOUNDARY>\n\nBe brief\.$/);
  });
});

describe('an ACP agent', () => {
  it('is started from its settings', () => {
    const { body, agentKind, llmModel, tags } = build({
      request: { llm_model: 'opus' },
      settings: { agent_settings: { agent_kind: 'acp', acp_server: 'codex', acp_model: 'sonnet' } },
    });
    expect(body['agent']).toBeUndefined();
    expect(body['agent_settings']).toMatchObject({
      agent_kind: 'acp',
      acp_server: 'codex',
      acp_model: 'opus',
    });
    expect(body['tags']).toEqual({ acpserver: 'codex' });
    expect(body['observability_tags']).toEqual(['app:openhands', 'agent_kind:acp']);
    expect({ agentKind, llmModel, tags }).toEqual({
      agentKind: 'acp',
      llmModel: 'opus',
      tags: { acpserver: 'codex' },
    });
  });
});

describe('the secrets of a start', () => {
  const tokens = new Map([
    ['github', { token: 'gh-token', host: null, userId: null }],
    ['bitbucket_data_center', { token: 'bb-token', host: 'bb', userId: null }],
    ['gitlab', { token: '', host: null, userId: null }],
  ] as const);

  it('are values without a public address, one for each provider with a token', async () => {
    expect(await providerSecrets(tokens, null)).toEqual({
      GITHUB_TOKEN: { kind: 'StaticSecret', value: 'gh-token', description: 'GITHUB authentication token' },
      BITBUCKET_DATA_CENTER_TOKEN: {
        kind: 'StaticSecret',
        value: 'bb-token',
        description: 'BITBUCKET_DATA_CENTER authentication token',
      },
    });
  });

  it('are looked up with one, by a token of our own that holds no secret', async () => {
    const accessTokens = new AccessTokens([{ id: 'k', secret: new Uint8Array(32) }]);
    const sources = await providerSecrets(tokens, {
      publicUrl: 'https://c.example',
      userId: 'u',
      organizationId: 'acme',
      accessTokens,
    });
    const { GITHUB_TOKEN: source } = sources;
    if (source?.kind !== 'LookupSecret') throw new Error('not looked up');
    expect(source.url).toBe('https://c.example/api/v1/webhooks/secrets');
    expect(await accessTokens.verify(source.headers['X-Access-Token'] ?? '')).toEqual({
      userId: 'u',
      providerType: 'github',
      organizationId: 'acme',
    });
    expect(JSON.stringify(sources)).not.toContain('gh-token');
  });

  it("of one name are the request's before the provider's before the user's", async () => {
    const provider = await providerSecrets(tokens, null);
    const custom = new Map([
      ['GITHUB_TOKEN', { value: 'custom', description: null }],
      ['A', { value: 'custom', description: 'mine' }],
      ['B', { value: 'custom', description: null }],
    ]);
    const all = allSecrets(custom, provider, { A: 'request', BITBUCKET_DATA_CENTER_TOKEN: 'request' });
    const values = Object.entries(all).map(([name, source]) => [
      name,
      source.kind === 'StaticSecret' && source.value,
    ]);
    expect(Object.fromEntries(values)).toEqual({
      GITHUB_TOKEN: 'gh-token',
      A: 'request',
      B: 'custom',
      BITBUCKET_DATA_CENTER_TOKEN: 'request',
    });
  });
});
