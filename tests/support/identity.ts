/** Stores over a database of the test's own, and a server with routes over them whose callers name themselves. */
import { Vault } from '../../identity/vault.js';
import { SecretsStore } from '../../identity/secrets-store.js';
import { SettingsStore } from '../../identity/settings-store.js';
import { SecretsStoreTokenProvider } from '../../identity/secrets-token-provider.js';
import type { AuthStrategy } from '../../identity/auth-strategy.js';
import { openTestDatabase } from './database.js';

export interface TestStores {
  connection: Awaited<ReturnType<typeof openTestDatabase>>;
  vault: Vault;
  secrets: SecretsStore;
  settings: SettingsStore;
  /** The user named in `X-Test-User`; nobody in particular without. */
  auth: AuthStrategy;
  close(): Promise<void>;
}

export async function openTestStores(): Promise<TestStores> {
  const connection = await openTestDatabase();
  const vault = new Vault([{ id: 'test', secret: new Uint8Array(32).fill(9) }]);
  const secrets = new SecretsStore(connection.database, vault);
  return {
    connection,
    vault,
    secrets,
    settings: new SettingsStore({ database: connection.database, vault }),
    auth: {
      authenticate: (headers) => {
        const userId = [headers['x-test-user']].flat()[0] ?? null;
        return Promise.resolve({
          userId,
          authType: userId === null ? 'none' : 'bearer',
          tokens: new SecretsStoreTokenProvider(secrets, userId),
        });
      },
    },
    close: () => connection.close(),
  };
}
