/** The commands that run one part of Callboard in the foreground: `api`, `worker`, `migrate`. */
import type { Logger } from 'pino';
import { createLogger, secretsOf } from '../api/log.js';
import type { Config } from '../config/config.js';
import { upgradeDatabase, type DatabaseUpgrade } from './database-upgrade.js';
import { requireFrontend } from './frontend.js';
import { createProgress } from './progress.js';
import { localUrl } from './local-url.js';
import { requireProcessRuntime, setUpAgentServer } from './setup.js';
import { UserError } from './user-error.js';

/** A job that migrates has to end, in milliseconds. */
const JOB_PATIENCE_MS = 60_000;

export async function runApi(config: Config): Promise<void> {
  const databaseUrl = required(config.database.url?.reveal(), 'DATABASE_URL');
  const temporalAddress = required(config.temporal.address, 'TEMPORAL_ADDRESS');
  requireFrontend(config);
  const masker = secretsOf(config);
  const logger = createLogger(config.log, { masker });
  // Loaded here: a worker would carry the whole API for nothing.
  const [{ startApi }] = await Promise.all([
    import('./api.js'),
    upgradeDatabase({ url: databaseUrl, ...patient(config, logger) }),
  ]);
  const api = await startApi({ config, databaseUrl, temporalAddress, logger, masker }).catch(
    (err: unknown) => {
      if (err instanceof Error && 'code' in err && err.code === 'EADDRINUSE') {
        throw new UserError(
          `Port ${config.server.port} of ${config.server.host} is in use: stop what listens there, or choose another with PORT.`,
        );
      }
      throw err;
    },
  );
  await stopSignal();
  await api.stop();
}

export async function runWorker(config: Config, env: NodeJS.ProcessEnv): Promise<void> {
  const databaseUrl = required(config.database.url?.reveal(), 'DATABASE_URL');
  const temporalAddress = required(config.temporal.address, 'TEMPORAL_ADDRESS');
  requireProcessRuntime(config);
  const masker = secretsOf(config);
  const logger = createLogger(config.log, { masker });
  const stopping = new AbortController();
  const asked = stopSignal().then(() => stopping.abort(new UserError('stopped')));
  const agentServerCommand = await setUpAgentServer({
    config,
    env,
    progress: createProgress(process.stderr),
    signal: stopping.signal,
  });
  await upgradeDatabase({ url: databaseUrl, signal: stopping.signal, ...patient(config, logger) });
  // Loaded here: the API would carry half of Temporal, and a bundler, for nothing.
  const [{ installTemporalRuntime }, { startWorker }] = await Promise.all([
    import('./temporal-runtime.js'),
    import('./worker.js'),
  ]);
  installTemporalRuntime(logger);
  const worker = await startWorker({
    config,
    databaseUrl,
    temporalAddress,
    agentServerCommand,
    internalUrl: config.server.internalUrl ?? localUrl(config, config.server.port),
    logger,
    masker,
    signal: stopping.signal,
  });
  logger.info({ hostId: worker.hostId }, 'the worker polls');
  await Promise.race([asked, worker.ended]);
  await worker.stop();
}

/** Applies what is new in the schema and ends. */
export async function runMigrations(config: Config): Promise<void> {
  await upgradeDatabase({
    url: required(config.database.url?.reveal(), 'DATABASE_URL'),
    ...patient(config, createLogger(config.log, { masker: secretsOf(config) })),
    patienceMs: JOB_PATIENCE_MS,
  });
}

/** A server waits for its database as long as it takes, and says so. */
const patient = (config: Config, logger: Logger): Omit<DatabaseUpgrade, 'url'> => ({
  allowNewer: config.database.allowNewerSchema,
  onAway: ({ message }) => logger.warn({ reason: message }, 'waiting for the database'),
});

function required(value: string | null | undefined, name: string): string {
  if (value) return value;
  throw new UserError(`${name} is not set: set it, or run everything on this machine with ./callboard up.`);
}

/** Resolves when somebody wants the process to end; a second signal ends it at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let asked = 0;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (asked++ > 0) process.exit(130);
        resolve();
      });
    }
  });
}
