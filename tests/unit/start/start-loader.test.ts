import { describe, expect, it } from 'vitest';
import type { StartPreparationDeps } from '../../../activities/start/start-deps.js';
import { createStartLoader } from '../../../activities/start/start-loader.js';
import { prepareStart } from '../../../api/start-request.js';
import { Settings } from '../../../contract/settings.js';
import { StartRequest } from '../../../contract/start-task.js';
import { NO_TOKENS } from '../../../identity/auth-strategy.js';
import { purposes, Vault } from '../../../identity/vault.js';

const vault = new Vault([{ id: 'test', secret: new Uint8Array(32).fill(7) }]);
const user = { userId: 'ann', authType: 'bearer' as const, tokens: NO_TOKENS };

/** What the steps of a start see of a request that came in like this. */
async function loaded(body: object) {
  const { request, secrets } = await prepareStart(StartRequest.parse(body), user, {
    read: () => Promise.resolve(null),
  });
  const task = {
    id: 'task',
    sandboxId: 'box',
    createdByUserId: 'ann',
    request,
    secrets: secrets && (await vault.seal(purposes.startSecrets('task'), secrets)),
  };
  const sessionApiKey = await vault.seal(purposes.sessionKey('box'), 'session key of the box');
  const load = createStartLoader({
    startTasks: { read: () => Promise.resolve(task) },
    sandboxes: { read: () => Promise.resolve({ id: 'box', agentServerUrl: 'http://box', sessionApiKey }) },
    settings: { read: () => Promise.resolve(Settings.parse({})) },
    secrets: {
      providerTokens: () => Promise.resolve(new Map()),
      readCustom: () => Promise.resolve(new Map()),
    },
    vault,
    createClient: () => ({}),
  } as unknown as StartPreparationDeps);
  return load('task');
}

describe('the steps of a start', () => {
  it('get plugins as they were sent, and a message that tells their parameters', async () => {
    const plugins = [
      { source: 'https://bot:pass-of-the-bot@git.example/one', parameters: { key: 'value-for-one' } },
    ];
    const start = await loaded({ plugins, secrets: { A: 'secret of A' } });
    expect(start.task.request.plugins).toMatchObject(plugins);
    expect(start.task.request.initial_message).toMatchObject({
      run: true,
      content: [{ text: 'Plugin Configuration Parameters:\n- key: value-for-one' }],
    });
    expect(start.requestSecrets).toEqual({ A: 'secret of A' });
    expect(start.secretValues()).toEqual(expect.arrayContaining(['pass-of-the-bot', 'secret of A']));
  });

  it('get a request that hides nothing as it is stored', async () => {
    const message = { content: [{ type: 'text', text: 'go' }] };
    const { task } = await loaded({ plugins: [{ source: 'github:owner/two' }], initial_message: message });
    expect(task.request.plugins).toMatchObject([{ source: 'github:owner/two', parameters: null }]);
    expect(task.request.initial_message?.content).toMatchObject([{ text: 'go' }]);
  });
});
