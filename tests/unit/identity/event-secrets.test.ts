import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MASK } from '../../../contract/masking.js';
import { applySettingsUpdate } from '../../../contract/settings.js';
import { EventSecrets, type SecretSandbox } from '../../../identity/event-secrets.js';
import { purposes } from '../../../identity/vault.js';
import { openTestStores, type TestStores } from '../../support/identity.js';

let stores: TestStores;
let now = 0;
let events: EventSecrets;

beforeAll(async () => {
  stores = await openTestStores();
  events = new EventSecrets({ ...stores, instance: ['instance-key'], now: () => now });
});
afterAll(() => stores.close());

const sandboxOf = async (owner: string | null): Promise<SecretSandbox> => {
  const id = crypto.randomUUID();
  return {
    id,
    createdByUserId: owner,
    sessionApiKey: await stores.vault.seal(purposes.sessionKey(id), `session-${id}`),
    secretKey: await stores.vault.seal(purposes.secretKey(id), `secret-${id}`),
  };
};
const conceal = async (sandbox: SecretSandbox, text: string) =>
  (JSON.parse((await events.concealer(sandbox))(JSON.stringify({ text }))) as { text: string }).text;

describe('what is taken out of events', () => {
  it('is everything that the sandbox and its owner keep secret, and nothing of others', async () => {
    const [ada, bob] = [`ada-${crypto.randomUUID()}`, `bob-${crypto.randomUUID()}`];
    await stores.secrets.putCustom(ada, { name: 'A', value: 'custom-of-ada' });
    await stores.secrets.replaceProviderTokens(
      ada,
      new Map([['github', { token: 'token-of-ada', host: null, userId: null }]]),
    );
    await stores.settings.update(ada, (stored) =>
      applySettingsUpdate(stored, { agent_settings_diff: { llm: { api_key: 'model-key-of-ada' } } }),
    );
    await stores.secrets.putCustom(bob, { name: 'B', value: 'custom-of-bob' });
    const sandbox = await sandboxOf(ada);
    const text = `session-${sandbox.id} secret-${sandbox.id} custom-of-ada token-of-ada model-key-of-ada instance-key`;
    expect(await conceal(sandbox, `${text} custom-of-bob`)).toBe(
      `${Array(6).fill(MASK).join(' ')} custom-of-bob`,
    );
    expect(await conceal(await sandboxOf(bob), text)).toBe(text.replace('instance-key', MASK));
  });

  it('is read once for many batches, and takes up new secrets within seconds', async () => {
    const sandbox = await sandboxOf(null);
    await stores.secrets.putCustom(null, { name: 'FIRST', value: 'first-value' });
    expect(await conceal(sandbox, 'first-value second-value')).toBe(`${MASK} second-value`);
    await stores.secrets.putCustom(null, { name: 'SECOND', value: 'second-value' });
    now += 60_000;
    expect(await conceal(sandbox, 'first-value second-value')).toBe(`${MASK} ${MASK}`);
  });

  it('is not guessed: when a key is missing nothing is let through', async () => {
    const sandbox = await sandboxOf(null);
    await expect(events.concealer({ ...sandbox, id: 'moved' })).rejects.toThrow('cannot be read');
    await expect(events.concealer({ ...sandbox, id: 'moved' })).rejects.toThrow('cannot be read');
  });
});
