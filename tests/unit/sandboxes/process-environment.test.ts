import { describe, expect, it } from 'vitest';
import type { SandboxLaunch } from '../../../sandboxes/backend.js';
import { configurationOf, environmentOf } from '../../../sandboxes/process-environment.js';
import { sandboxPaths } from '../../../sandboxes/sandbox-paths.js';

const launch: SandboxLaunch = {
  sandboxId: 'box-1',
  specId: '1.34.0',
  port: 8700,
  sessionApiKey: 'the-session-key',
  secretKey: 'the-secret-key',
  webhookBaseUrl: 'http://127.0.0.1:3000/api/v1/webhooks',
  environment: {},
};
const paths = sandboxPaths('/data/sandboxes', 'box-1');

describe('the environment of a process sandbox', () => {
  it('holds nothing that Callboard itself was started with', () => {
    const own = {
      PATH: '/usr/bin',
      DATABASE_URL: 'postgres://u:p@db/x',
      JWT_SECRET: 'jwt',
      TEMPORAL_API_KEY: 'temporal',
      OH_SECRET_KEY: 'ours',
      OH_PERSISTENCE_DIR: '/data',
      OH_WEBHOOKS_1_BASE_URL: 'http://elsewhere',
      LLM_API_KEY: 'llm',
      AWS_SECRET_ACCESS_KEY: 'aws',
      PYTHONPATH: '/x',
    };
    const environment = environmentOf(launch, paths, own);
    const values = Object.values(environment);
    for (const [name, value] of Object.entries(own)) if (name !== 'PATH') expect(values).not.toContain(value);
    expect(environment).toMatchObject({ PATH: '/usr/bin', OH_PERSISTENCE_DIR: paths.persistence });
    expect(environment).not.toHaveProperty('OH_WEBHOOKS_1_BASE_URL');
  });

  it('holds no secret of the launch, which travel in the configuration', () => {
    const sneaky = {
      ...launch,
      environment: { SESSION_API_KEY: 'a', OH_SECRET_KEY: 'b', OH_SESSION_API_KEYS_0: 'c' },
    };
    const environment = environmentOf(sneaky, paths, {});
    expect(JSON.stringify(environment)).not.toMatch(/the-session-key|the-secret-key/);
    expect(Object.keys(environment)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/SESSION_API_KEY|OH_SECRET_KEY/)]),
    );
    expect(JSON.parse(configurationOf(launch))).toEqual({
      session_api_keys: ['the-session-key'],
      secret_key: 'the-secret-key',
    });
  });

  it('lets the operator change what is a choice, and not what keeps sandboxes apart', () => {
    const environment = environmentOf(
      {
        ...launch,
        environment: {
          OH_PRELOAD_TOOLS: '1',
          LLM_MODEL: 'x',
          HOME: '/root',
          TMUX_TMPDIR: '/tmp',
          TZ: 'Asia/Tokyo',
        },
      },
      paths,
      {},
    );
    expect(environment).toMatchObject({
      OH_PRELOAD_TOOLS: '1',
      LLM_MODEL: 'x',
      HOME: paths.home,
      TMUX_TMPDIR: paths.terminals,
      TZ: 'UTC',
      OH_WEBHOOKS_0_BASE_URL: launch.webhookBaseUrl,
      OH_WEBHOOKS_0_EVENT_BUFFER_SIZE: '1',
      CALLBOARD_SANDBOX_ID: 'box-1',
    });
  });

  it('passes proxies on, but never for this machine itself', () => {
    const environment = environmentOf(launch, paths, {
      HTTPS_PROXY: 'http://proxy:3128',
      NO_PROXY: 'internal.example',
    });
    expect(environment['HTTPS_PROXY']).toBe('http://proxy:3128');
    for (const name of ['NO_PROXY', 'no_proxy']) {
      expect(environment[name]!.split(',')).toEqual(['internal.example', 'localhost', '127.0.0.1', '::1']);
    }
  });
});
