import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applySettingsUpdate } from '../../../contract/settings.js';
import { SecretsStore } from '../../../identity/secrets-store.js';
import { internalUserContext, SecretsStoreTokenProvider } from '../../../identity/secrets-token-provider.js';
import { SettingsStore } from '../../../identity/settings-store.js';
import { NoneStrategy } from '../../../identity/none-strategy.js';
import { Vault, VaultError } from '../../../identity/vault.js';
import { openTestDatabase } from '../../support/database.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let secrets: SecretsStore;
let settings: SettingsStore;
const vault = new Vault([{ id: 'k', secret: new Uint8Array(32).fill(7) }]);
const dropped: string[][] = [];

beforeAll(async () => {
  connection = await openTestDatabase();
  secrets = new SecretsStore(connection.database, vault);
  settings = new SettingsStore({
    database: connection.database,
    vault,
    onDropped: (members) => dropped.push(members),
  });
});
afterAll(() => connection.close());

const newUser = () => `user-${crypto.randomUUID()}`;
const everything = async (): Promise<string> => {
  const rows = await Promise.all([
    connection.database.execute(sql`select * from secrets`),
    connection.database.execute(sql`select * from settings`),
  ]);
  return JSON.stringify(rows.map((result) => result.rows));
};

describe('custom secrets', () => {
  it('come back as they were, and lie nowhere in the clear', async () => {
    const user = newUser();
    await secrets.putCustom(user, { name: 'TOKEN', value: 'hunter2-custom', description: 'for tests' });
    expect(await secrets.readCustom(user)).toEqual(
      new Map([['TOKEN', { value: 'hunter2-custom', description: 'for tests' }]]),
    );
    expect(await secrets.readCustomValue(user, 'TOKEN')).toBe('hunter2-custom');
    expect(await everything()).not.toContain('hunter2');
  });

  it('keep their description when only the value is replaced', async () => {
    const user = newUser();
    await secrets.putCustom(user, { name: 'A', value: '1', description: 'd' });
    await secrets.putCustom(user, { name: 'A', value: '2' });
    expect(await secrets.searchCustom(user)).toEqual([{ name: 'A', description: 'd' }]);
    expect(await secrets.readCustomValue(user, 'A')).toBe('2');
  });

  it('are created once', async () => {
    const user = newUser();
    expect(await secrets.createCustom(user, { name: 'A', value: '1' })).toBe(true);
    expect(await secrets.createCustom(user, { name: 'A', value: '2' })).toBe(false);
    expect(await secrets.readCustomValue(user, 'A')).toBe('1');
  });

  it('keep their value when they are renamed, unless the name is taken', async () => {
    const user = newUser();
    await secrets.putCustom(user, { name: 'A', value: 'value-a' });
    await secrets.putCustom(user, { name: 'B', value: 'value-b' });
    expect(await secrets.updateCustom(user, 'A', { name: 'C', description: 'new' })).toBe('updated');
    expect(await secrets.readCustomValue(user, 'C')).toBe('value-a');
    expect(await secrets.readCustomValue(user, 'A')).toBeNull();
    expect(await secrets.updateCustom(user, 'C', { name: 'B', description: null })).toBe('taken');
    expect(await secrets.updateCustom(user, 'X', { name: 'Y', description: null })).toBe('missing');
    expect(await secrets.deleteCustom(user, 'C')).toBe(true);
    expect(await secrets.deleteCustom(user, 'C')).toBe(false);
  });

  it('are listed page by page in one order, filtered without regard to case or wildcards', async () => {
    const user = newUser();
    for (const name of ['b_TOKEN', 'A_TOKEN', 'Z', 'c%']) await secrets.putCustom(user, { name, value: 'v' });
    const names = async (query: Parameters<SecretsStore['searchCustom']>[1]) =>
      (await secrets.searchCustom(user, query)).map(({ name }) => name);
    expect(await names({})).toEqual(['A_TOKEN', 'Z', 'b_TOKEN', 'c%']);
    expect(await names({ limit: 2, after: 'A_TOKEN' })).toEqual(['Z', 'b_TOKEN']);
    expect(await names({ nameContains: 'toK' })).toEqual(['A_TOKEN', 'b_TOKEN']);
    expect(await names({ nameContains: '%' })).toEqual(['c%']);
  });

  it('of one user are nobody else’s', async () => {
    const [one, other] = [newUser(), newUser()];
    await secrets.putCustom(one, { name: 'A', value: '1' });
    expect(await secrets.readCustomValue(other, 'A')).toBeNull();
    expect(await secrets.deleteCustom(other, 'A')).toBe(false);
    // A row carried over to another user does not open there.
    await connection.database.execute(
      sql`insert into secrets select ${other}, kind, name, value, description, attributes, updated_at from secrets where user_id = ${one}`,
    );
    await expect(secrets.readCustomValue(other, 'A')).rejects.toThrow(VaultError);
  });
});

describe('provider tokens', () => {
  it('are replaced as a whole and read through every context of the user', async () => {
    const user = newUser();
    await secrets.replaceProviderTokens(
      user,
      new Map([
        ['github', { token: 'hunter2-github', host: null, userId: '7' }],
        ['gitlab', { token: 'hunter2-gitlab', host: 'git.example', userId: null }],
      ]),
    );
    const { tokens, userId, authType } = internalUserContext(user, secrets);
    expect({ userId, authType }).toEqual({ userId: user, authType: 'internal' });
    expect(await tokens.get('github')).toEqual({ token: 'hunter2-github', host: null, userId: '7' });
    expect(await secrets.providerHosts(user)).toEqual(
      new Map([
        ['github', null],
        ['gitlab', 'git.example'],
      ]),
    );
    await secrets.replaceProviderTokens(
      user,
      new Map([['forgejo', { token: 't', host: null, userId: null }]]),
    );
    expect([...(await new SecretsStoreTokenProvider(secrets, user).getAll()).keys()]).toEqual(['forgejo']);
    expect(await everything()).not.toContain('hunter2');
  });

  it('belong to the one user without id in auth mode none', async () => {
    await secrets.replaceProviderTokens(
      null,
      new Map([['github', { token: 't', host: null, userId: null }]]),
    );
    const user = await new NoneStrategy(
      (userId) => new SecretsStoreTokenProvider(secrets, userId),
    ).authenticate();
    expect(user).toMatchObject({ userId: null, authType: 'none' });
    expect(await user.tokens.get('github')).toMatchObject({ token: 't' });
  });
});

describe('settings', () => {
  it('are defaults until something is stored', async () => {
    const user = newUser();
    expect(await settings.find(user)).toBeNull();
    expect((await settings.read(user)).conversation_settings.max_iterations).toBe(500);
  });

  it('come back with their keys, which lie nowhere in the clear', async () => {
    const user = newUser();
    await settings.update(user, (stored) =>
      applySettingsUpdate(stored, {
        language: 'de',
        search_api_key: 'hunter2-search',
        agent_settings_diff: {
          llm: { model: 'a/b', api_key: 'hunter2-llm' },
          mcp_config: { m: { url: 'https://m/?key=hunter2-mcp' } },
        },
      }),
    );
    expect(await settings.find(user)).toMatchObject({
      language: 'de',
      search_api_key: 'hunter2-search',
      agent_settings: {
        llm: { model: 'a/b', api_key: 'hunter2-llm' },
        mcp_config: { m: { url: 'https://m/?key=hunter2-mcp' } },
      },
    });
    expect(await everything()).not.toContain('hunter2');
  });

  it('lose no change of many that come at once', async () => {
    const user = newUser();
    await Promise.all(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((name) =>
        settings.update(user, (stored) =>
          applySettingsUpdate(stored, { agent_settings_diff: { llm: { extra_headers: { [name]: 'x' } } } }),
        ),
      ),
    );
    expect(Object.keys((await settings.read(user)).agent_settings.llm.extra_headers ?? {}).sort()).toEqual([
      'a',
      'b',
      'c',
      'd',
      'e',
      'f',
    ]);
  });

  it('stay as they were when a change is refused', async () => {
    const user = newUser();
    await settings.update(user, () => ({ language: 'de' }));
    const refused = settings.update(user, (stored) =>
      applySettingsUpdate(stored, { language: 'en', sandbox_grouping_strategy: 'NONE' }),
    );
    await expect(refused).rejects.toThrow('sandbox_grouping_strategy');
    expect((await settings.read(user)).language).toBe('de');
  });

  it('can be read although a member is no longer valid, and say which', async () => {
    const user = newUser();
    await settings.update(user, () => ({ language: 'de', sandbox_grouping_strategy: 'GONE' }));
    expect(await settings.read(user)).toMatchObject({
      language: 'de',
      sandbox_grouping_strategy: 'NO_GROUPING',
    });
    expect(dropped).toContainEqual(['sandbox_grouping_strategy']);
  });

  it('use the model of the instance until the user chooses one, and give its key to no other address', async () => {
    const store = new SettingsStore({
      database: connection.database,
      vault,
      instanceLlm: { model: 'inst/model', apiKey: 'instance-key', baseUrl: 'http://inst' },
    });
    const llm = async (diff: Record<string, unknown>) => {
      const user = newUser();
      await store.update(user, (stored) =>
        applySettingsUpdate(stored, { agent_settings_diff: { llm: diff } }),
      );
      const { model, api_key, base_url } = (await store.read(user)).agent_settings.llm;
      return [model, api_key, base_url];
    };
    expect(await llm({})).toEqual(['inst/model', 'instance-key', 'http://inst']);
    expect(await llm({ api_key: 'own-key' })).toEqual(['inst/model', 'own-key', 'http://inst']);
    expect(await llm({ model: 'own/model' })).toEqual(['own/model', null, null]);
    expect(await llm({ base_url: 'http://elsewhere' })).toEqual(['gpt-5.5', null, 'http://elsewhere']);
  });
});
