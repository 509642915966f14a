import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSandboxSpecs } from '../../api/sandbox-specs.js';
import { sandboxSpecRoutes } from '../../api/sandbox-spec-routes.js';
import { webClientRoutes } from '../../api/web-client-routes.js';
import { loadConfig } from '../../config/config.js';
import { Secret } from '../../contract/masking.js';
import { Settings } from '../../contract/settings.js';
import { NO_TOKENS } from '../../identity/auth-strategy.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const since = new Date('2026-01-02T03:04:05Z');
const config = loadConfig({
  env: { HOME: '/nowhere', LLM_API_KEY: 'hunter2', OH_AGENT_SERVER_ENV: '{"DEBUG": "hunter2-debug"}' },
});
const specsFor = (wanted: string | null) =>
  createSandboxSpecs(
    config,
    { read: () => Promise.resolve(Settings.parse({ default_sandbox_spec_id: wanted })) },
    since,
  );
const specs = specsFor(null);
const [spec] = specs.all();
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer(
    [...sandboxSpecRoutes({ specs }), ...webClientRoutes({ since, githubClientId: null, signInUrl: null })],
    { server: { instanceKey: new Secret('instance-key') } },
  );
});
afterAll(() => server.close());

const get = async (path: string) => {
  const response = await server.send('GET', path, undefined, { 'X-Session-API-Key': 'instance-key' });
  return { status: response.status, body: await response.json() };
};

describe('sandbox specs', () => {
  it('show which variables are handed on, and no value (D8)', async () => {
    const { status, body } = await get('/api/v1/sandbox-specs/search');
    expect(status).toBe(200);
    expect(body).toEqual({
      items: [
        {
          id: spec!.id,
          command: ['python', '-m', 'openhands.agent_server'],
          created_at: '2026-01-02T03:04:05Z',
          initial_env: { LLM_API_KEY: '**********', DEBUG: '**********' },
          working_dir: '.',
        },
      ],
      next_page_id: null,
    });
  });

  it('are got by id, null for each that is not there', async () => {
    expect((await get(`/api/v1/sandbox-specs?id=x&id=${encodeURIComponent(spec!.id)}`)).body).toEqual([
      null,
      spec,
    ]);
    expect((await get('/api/v1/sandbox-specs')).status).toBe(422);
    const many = Array.from({ length: 101 }, () => 'id=x').join('&');
    expect(await get(`/api/v1/sandbox-specs?${many}`)).toEqual({
      status: 400,
      body: { detail: 'Cannot request more than 100 sandbox specs at once, got 101' },
    });
  });

  it('are chosen by the user where they exist', async () => {
    const user = { userId: null, authType: 'none', tokens: NO_TOKENS } as const;
    expect(await specs.exists(spec!.id)).toBe(true);
    expect(await specs.exists('x')).toBe(false);
    expect(await specsFor('gone').defaultFor(user)).toBe(spec!.id);
    expect(await specsFor(spec!.id).defaultFor(user)).toBe(spec!.id);
  });
});

describe('what web clients ask first', () => {
  it('is told to anybody, by either release’s path', async () => {
    const modern = await server.fetch('/api/v1/web-client/config');
    expect(modern.status).toBe(200);
    expect(await modern.json()).toMatchObject({
      kind: 'WebClientConfig',
      app_mode: 'oss',
      posthog_client_key: null,
      updated_at: '2026-01-02T03:04:05Z',
      providers_configured: [],
      feature_flags: { hide_llm_settings: false, enable_billing: false },
    });
    const legacy = await server.fetch('/api/options/config');
    expect(await legacy.json()).toMatchObject({ APP_MODE: 'oss', POSTHOG_CLIENT_KEY: null });
  });
});
