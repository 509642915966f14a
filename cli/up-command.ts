import type { Config } from '../config/config.js';
import { createProgress } from './progress.js';
import { upLogger } from './up-log.js';
import { requireFrontend } from './frontend.js';
import { productServices } from './services.js';
import { runUp } from './up.js';

/** A second signal this soon is an echo of the first: terminals and wrappers send it to the whole group. */
const ECHO_MS = 500;

/** `callboard up`: the first signal stops everything in order, a second one ends at once. */
export async function runUpCommand(config: Config, env: NodeJS.ProcessEnv): Promise<void> {
  requireFrontend(config);
  const progress = createProgress(process.stderr);
  const controller = new AbortController();
  let crash: { reason: unknown } | undefined;
  let askedAt: number | undefined;

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      askedAt ??= Date.now();
      if (!controller.signal.aborted) controller.abort(new Error(`stopped by ${signal}`));
      else if (Date.now() - askedAt > ECHO_MS) process.exit(130); // engines are told as we leave
    });
  }
  const onCrash = (reason: unknown): void => {
    crash ??= { reason };
    controller.abort(reason);
  };
  process.on('uncaughtException', onCrash);
  process.on('unhandledRejection', onCrash);

  await runUp({
    config,
    env,
    progress,
    services: productServices(config, upLogger(config)),
    signal: controller.signal,
  });
  if (crash) throw crash.reason;
}
