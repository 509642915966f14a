import { openDatabase, type DatabaseConnection } from '../db/database.js';
import { HostSandboxes } from '../db/host-sandboxes.js';
import { SandboxRepository } from '../db/sandbox-repository.js';
import { createEventStore, type EventStore } from '../events/event-store.js';
import type { KeyRing } from '../identity/key-ring.js';
import { openKeyRing } from '../identity/keys.js';
import { EventSecrets } from '../identity/event-secrets.js';
import { rememberIn } from '../identity/known-secrets.js';
import { GitHubOAuth } from '../identity/github-oauth.js';
import { SecretsStore } from '../identity/secrets-store.js';
import { SecretsStoreTokenProvider, type TokensOf } from '../identity/secrets-token-provider.js';
import { SettingsStore } from '../identity/settings-store.js';
import { Vault } from '../identity/vault.js';
import type { Logger } from 'pino';
import { isSecretName } from '../contract/masking.js';
import type { SecretMasker } from '../contract/secret-masker.js';
import type { Config } from '../config/config.js';

/** What API and worker share: the database, the key ring, and the stores made from them. */
export interface Core {
  connection: DatabaseConnection;
  keys: KeyRing;
  vault: Vault;
  sandboxes: SandboxRepository;
  hostSandboxes: HostSandboxes;
  settings: SettingsStore;
  secrets: SecretsStore;
  /** Git-provider tokens of a user, renewed where they expire. */
  tokensOf: TokensOf;
  events: EventStore;
  /** What may not be stored of events. */
  eventSecrets: EventSecrets;
  close(): Promise<void>;
}

/** A process's log, and what keeps secrets out of it. */
export interface Log {
  logger: Logger;
  masker: SecretMasker;
}

/** Opens the database and reads the keys; nothing is connected yet. */
export async function openCore(config: Config, databaseUrl: string, { logger, masker }: Log): Promise<Core> {
  const keys = await openKeyRing(
    { secret: config.keys.master?.reveal() ?? null, dataDirectory: config.data.directory },
    (err) => logger.error({ err }, 'the key file cannot be read any more; the keys read before stay in use'),
  );
  const vault = new Vault(keys, rememberIn(masker));
  const connection = openDatabase({
    url: databaseUrl,
    maxConnections: config.database.maxConnections,
    onIdleError: (err) => logger.warn({ err }, 'a database connection was lost'),
  });
  const { database } = connection;
  const settings = new SettingsStore({
    database,
    vault,
    instanceLlm: {
      model: config.llm.model,
      apiKey: config.llm.apiKey?.reveal() ?? null,
      baseUrl: config.llm.baseUrl,
    },
    onDropped: (members) =>
      logger.warn({ members }, 'stored settings that are no longer valid count as not set'),
  });
  const secrets = new SecretsStore(database, vault);
  const github = gitHubOAuth(config.auth);
  const renewals = new Map(
    github ? [['github' as const, (refreshToken: string) => github.renew(refreshToken)]] : [],
  );
  return {
    connection,
    keys,
    vault,
    sandboxes: new SandboxRepository(database),
    hostSandboxes: new HostSandboxes(database),
    settings,
    secrets,
    tokensOf: (userId) => new SecretsStoreTokenProvider(secrets, userId, renewals),
    eventSecrets: new EventSecrets({ vault, settings, secrets, instance: instanceSecrets(config) }),
    events: createEventStore({
      directory: config.data.directory,
      database,
      onDamage: ({ dropped, ...damaged }) => {
        // What is dropped is fetched again, or has been reported once; what is not, the disk does not give out.
        if (dropped) logger.warn({ damaged }, 'an event file was damaged; the event counts as not stored');
        else logger.error({ damaged }, 'an event file cannot be read: check the disk, run callboard doctor');
      },
    }),
    close: () => connection.close(),
  };
}

/** Secrets of the instance that every sandbox gets. */
const instanceSecrets = ({ llm, agentServer }: Config): string[] => [
  ...(llm.apiKey ? [llm.apiKey.reveal()] : []),
  ...Object.entries(agentServer.environment).flatMap(([name, value]) =>
    isSecretName(name) ? [value.reveal()] : [],
  ),
];
/** The OAuth app or GitHub App of the configuration; null without one. */
export function gitHubOAuth(auth: Config['auth']): GitHubOAuth | null {
  if (auth.githubClientId === null || auth.githubClientSecret === null) return null;
  return new GitHubOAuth({
    clientId: auth.githubClientId,
    clientSecret: auth.githubClientSecret.reveal(),
    url: auth.githubUrl,
    apiUrl: auth.githubApiUrl,
    scopes: auth.githubScopes,
  });
}
