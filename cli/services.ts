import type { Config } from '../config/config.js';
import { startApi } from './api.js';
import type { Log } from './core.js';
import { upgradeDatabase } from './database-upgrade.js';
import { localUrl } from './local-url.js';
import { installTemporalRuntime } from './temporal-runtime.js';
import type { Service } from './up.js';
import { startWorker } from './worker.js';

/** How long a database that is not the embedded one may be away, in milliseconds. */
const DATABASE_PATIENCE_MS = 60_000;

/**
 * What `callboard up` runs on top of its engines, in the order in which it is started: the API first, since sandboxes
 * post to it.
 */
export function productServices(config: Config, { logger, masker }: Log): Service[] {
  let internalUrl = config.server.internalUrl;
  return [
    {
      title: 'API',
      start: async ({ databaseUrl, temporalAddress }, signal) => {
        await upgradeDatabase({
          url: databaseUrl.reveal(),
          allowNewer: config.database.allowNewerSchema,
          onAway: ({ message }) => logger.warn({ reason: message }, 'waiting for the database'),
          patienceMs: DATABASE_PATIENCE_MS,
          signal,
        });
        const api = await startApi({
          config,
          databaseUrl: databaseUrl.reveal(),
          temporalAddress,
          logger,
          masker,
        });
        internalUrl ??= localUrl(config, api.port);
        return { stop: () => api.stop(), url: api.url };
      },
    },
    {
      title: 'Worker',
      start: async ({ databaseUrl, temporalAddress, agentServerCommand }, signal) => {
        installTemporalRuntime(logger);
        const worker = await startWorker({
          config,
          databaseUrl: databaseUrl.reveal(),
          temporalAddress,
          agentServerCommand,
          internalUrl: internalUrl ?? localUrl(config, config.server.port),
          warmByDefault: 1,
          logger,
          masker,
          signal,
        });
        return { stop: () => worker.stopWithSandboxes(), ended: worker.ended };
      },
    },
  ];
}
