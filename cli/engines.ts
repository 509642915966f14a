import { CODEC_PATH } from '../api/codec-routes.js';
import type { Config } from '../config/config.js';
import { Secret } from '../contract/masking.js';
import { startEmbeddedPostgres } from './embedded/postgres.js';
import { type SupervisedEngine, type Engine, superviseEngine } from './embedded/supervised-engine.js';
import { startEmbeddedTemporal } from './embedded/temporal.js';
import { localUrl } from './local-url.js';
import type { Progress } from './progress.js';
import { requireProcessRuntime, setUpAgentServer, setUpTemporalCli } from './setup.js';

/** What services are given: addresses of the engines, whether embedded or given, and the sandboxes' program. */
export interface Engines {
  databaseUrl: Secret;
  temporalAddress: string;
  /** Null when Temporal is not ours. */
  temporalUiUrl: string | null;
  /** Program and arguments; null unless sandboxes are processes. */
  agentServerCommand: string[] | null;
}

export interface RunningEngines {
  engines: Engines;
  /** Rejects when an embedded engine cannot be kept running. */
  gaveUp: Promise<never>;
  /** Temporal first, then PostgreSQL. */
  stop: () => Promise<void>;
}

export interface EnginesOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  progress: Progress;
  signal: AbortSignal;
}

/**
 * Starts what was not given by address: PostgreSQL beside the set-up of the tools, then Temporal.
 * When one part fails, those that run are stopped again.
 */
export async function startEngines(options: EnginesOptions): Promise<RunningEngines> {
  const { config, progress, signal } = options;
  requireProcessRuntime(config);
  const running: { order: number; supervised: SupervisedEngine<Engine> }[] = [];
  const keep = <E extends Engine>(order: number, supervised: SupervisedEngine<E>): E => {
    running.push({ order, supervised });
    return supervised.engine;
  };
  const stop = async (): Promise<void> => {
    for (const { supervised } of running.toSorted((a, b) => a.order - b.order)) await supervised.stop();
  };

  // A failure of one part ends the waiting for the others, which may be minutes of building.
  const failed = new AbortController();
  const part = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (err) {
      failed.abort(err);
      throw err;
    }
  };
  const parts = { ...options, signal: AbortSignal.any([signal, failed.signal]) };

  const results = await Promise.allSettled([
    part(async () => config.database.url ?? new Secret(keep(2, await startPostgres(parts)).url)),
    part(async () => {
      if (config.temporal.address) return { address: config.temporal.address, uiUrl: null };
      const cli = await setUpTemporalCli(parts);
      parts.signal.throwIfAborted();
      return keep(1, await startTemporal(parts, cli));
    }),
    part(async () => (config.sandboxes.runtime === 'process' ? setUpAgentServer(parts) : null)),
  ]);
  const [postgres, temporal, agentServer] = results;
  if (postgres.status === 'rejected' || temporal.status === 'rejected' || agentServer.status === 'rejected') {
    await stop();
    signal.throwIfAborted();
    throw failed.signal.reason;
  }
  if (config.database.url) progress.line('  – PostgreSQL: as given in DATABASE_URL');
  if (config.temporal.address) progress.line(`  – Temporal: as given, ${config.temporal.address}`);
  return {
    engines: {
      databaseUrl: postgres.value,
      temporalAddress: temporal.value.address,
      temporalUiUrl: temporal.value.uiUrl,
      agentServerCommand: agentServer.value,
    },
    gaveUp: Promise.race(running.map(({ supervised }) => supervised.gaveUp)),
    stop,
  };
}

function startPostgres({
  config,
  progress,
}: EnginesOptions): Promise<SupervisedEngine<Awaited<ReturnType<typeof startEmbeddedPostgres>>>> {
  const log = (line: string): void => progress.line(`  ! ${line}`);
  return progress.step('PostgreSQL', () =>
    superviseEngine({
      name: 'PostgreSQL',
      start: () => startEmbeddedPostgres({ dataDir: config.data.directory, log }),
      isSame: (first, successor) => first.url === successor.url,
      log,
    }),
  );
}

function startTemporal(
  { config, progress }: EnginesOptions,
  cli: string,
): Promise<SupervisedEngine<Awaited<ReturnType<typeof startEmbeddedTemporal>>>> {
  const log = (line: string): void => progress.line(`  ! ${line}`);
  const ports = config.origins['temporal.uiPort'] === 'default' ? {} : { ui: config.temporal.uiPort };
  // The UI's page asks the API from the browser; where the API takes any free port there is no address to give it.
  const extraArgs =
    config.temporal.operatorKey && config.server.port !== 0
      ? ['--ui-codec-endpoint', `${localUrl(config, config.server.port)}${CODEC_PATH}`]
      : [];
  return progress.step('Temporal', () =>
    superviseEngine({
      name: 'Temporal',
      start: () => startEmbeddedTemporal({ cli, dataDir: config.data.directory, log, ports, extraArgs }),
      isSame: (first, successor) => first.address === successor.address,
      log,
    }),
  );
}
