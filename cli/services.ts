import type { Config } from '../config/config.js';
import { migrateDatabase } from '../db/migrate.js';
import { startApi } from './api.js';
import type { Log } from './core.js';
import { localUrl } from './local-url.js';
import { installTemporalRuntime } from './temporal-runtime.js';
import type { Service } from './up.js';
import { startWorker } from './worker.js';

/**
 * What `callboard up` runs on top of its engines, in the order in which it is started: the API first, since sandboxes
 * post to it.
 */
export function productServices(config: Config, { logger, masker }: Log): Service[] {
  let internalUrl = config.server.internalUrl;
  return [
    {
      title: 'API',
      start: async ({ databaseUrl, temporalAddress }) => {
        await migrateDatabase(databaseUrl.reveal(), { allowNewer: config.database.allowNewerSchema });
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
