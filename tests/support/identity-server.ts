/** The product's routes, gateway and strategies over a real database, configured as people configure them; no Temporal. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino, type Logger } from 'pino';
import { createApp } from '../../api/app.js';
import { createGateway } from '../../api/gateway/gateway.js';
import { secretsOf } from '../../api/log.js';
import { startServer } from '../../api/server.js';
import { WrongKeys } from '../../api/wrong-keys.js';
import { apiRoutes, type ApiParts } from '../../cli/api-routes.js';
import { openCore, type Core } from '../../cli/core.js';
import { createGitProviders } from '../../cli/git-providers.js';
import { openIdentity, type Identity } from '../../cli/identity.js';
import { loadConfig } from '../../config/config.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import { createTestDatabase } from './database.js';

export interface IdentityServer {
  url: string;
  core: Core;
  identity: Identity;
  /** Everything that was logged, as text. */
  log: string[];
  close(): Promise<void>;
}

export const MASTER_KEY = 'a master key that is long enough for the tests';

/**
 * @param database of another server, to run two processes of one product; a new one otherwise.
 * @param standIns for parts that are not there, such as actors.
 */
export async function startIdentityServer(
  env: Record<string, string>,
  database?: { url: string },
  standIns: (core: Core) => Record<string, unknown> = () => ({}),
): Promise<IdentityServer & { database: { url: string } }> {
  const own = database ? null : await createTestDatabase();
  const { url: databaseUrl } = database ?? own ?? { url: '' };
  const directory = await mkdtemp(join(tmpdir(), 'callboard-identity-'));
  const config = loadConfig({
    env: { HOME: directory, OH_PERSISTENCE_DIR: directory, JWT_SECRET: MASTER_KEY, ...UNLIMITED, ...env },
  });
  const log: string[] = [];
  const logger: Logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });
  const core = await openCore(config, databaseUrl, { logger, masker: secretsOf(config) });
  const identity = await openIdentity({ config, core, logger });
  const parts = { ...NO_TEMPORAL, gitProviders: createGitProviders(config), ...standIns(core) };
  const wrongKeys = new WrongKeys(config.limits.wrongSecretsPerMinute);
  const gateway = createGateway({
    server: config.server,
    gateway: config.gateway,
    sandboxes: core.sandboxes,
    conversations: new ConversationReadModel(core.connection.database),
    events: core.events,
    vault: core.vault,
    auth: identity.auth,
    hub: parts.hub,
    wrongKeys,
    logger,
  });
  const { app } = createApp({
    routes: apiRoutes({ ...parts, config, core, identity, logger } as unknown as ApiParts),
    auth: identity.auth,
    logger,
    server: config.server,
    limits: config.limits,
    wrongKeys,
    gateway: gateway.http,
  });
  const running = await startServer(app, { host: '127.0.0.1', port: 0 }, (request, socket, head) =>
    gateway.sockets.handleUpgrade(request, socket, head),
  );
  return {
    url: running.url,
    core,
    identity,
    log,
    database: { url: databaseUrl },
    async close() {
      await gateway.sockets.close();
      await running.close(1_000);
      await core.close();
      await own?.drop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Tests sign in and mistake themselves more often than people do. */
const UNLIMITED = { CALLBOARD_SIGN_INS_PER_MINUTE: '0', CALLBOARD_WRONG_SECRETS_PER_MINUTE: '0' };

/** What only routes use that these tests never call. */
const NO_TEMPORAL = {
  client: {},
  actors: {},
  hub: { subscribe: () => () => undefined, watch: () => () => undefined },
  streams: {},
  waker: {},
  monitor: {},
};
