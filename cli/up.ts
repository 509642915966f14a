import type { Config } from '../config/config.js';
import { isPortFree } from './embedded/ports.js';
import { type Engines, type RunningEngines, startEngines } from './engines.js';
import { type Instance, claimDataDirectory } from './instance.js';
import type { Progress } from './progress.js';
import { UserError, hasCode, messageOf } from './user-error.js';

/** A part of Callboard that runs in this process, on top of the engines. */
export interface Service {
  title: string;
  /** May take as long as it needs; it gives up when `signal` is aborted. */
  start: (engines: Engines, signal: AbortSignal) => Promise<RunningService>;
}

/** A service that was started. */
export interface RunningService {
  /** All of it has ended when this resolves; none for a service that was done when it had started. */
  stop?: () => Promise<void>;
  /** Settles if the service ends without having been stopped; a rejection says why. */
  ended?: Promise<unknown>;
  /** The public address of the API, by the service that has one. */
  url?: string;
  /** Lines of the table that is printed at the end: what, where. */
  table?: readonly (readonly [string, string])[];
}

export interface UpOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  progress: Progress;
  /** Started in this order, stopped in the reverse one. */
  services: readonly Service[];
  /** Aborted when the person wants it to end. */
  signal: AbortSignal;
}

/** How long one service may take to stop. */
const SERVICE_STOP_TIMEOUT_MS = 60_000;

/**
 * Runs Callboard on one machine until `signal` is aborted or a part of it cannot be kept running, and
 * stops everything in order. Throws `UserError` when something is in the way.
 */
export async function runUp(options: UpOptions): Promise<void> {
  const { config, progress, signal } = options;
  const startedAt = Date.now();
  const { host, port } = config.server;
  const instance = claimDataDirectory(config.data.directory, `http://${host}:${port}`);
  const stack: (() => Promise<void>)[] = [];
  try {
    await requirePort(host, port);
    progress.line(`Starting Callboard on ${config.data.directory}`);
    const running = await startEngines(options);
    stack.unshift(() => progress.step('engines stopped', running.stop));
    const services = await startServices(options, running, stack);
    announce(config, progress, running.engines, services, instance, startedAt);
    await Promise.race([aborted(signal), running.gaveUp, ...services.map(endOf)]);
  } catch (err) {
    if (!signal.aborted) throw err;
  } finally {
    if (stack.length > 0) progress.line('Stopping Callboard');
    for (const stop of stack) await orderly(stop, progress);
    if (stack.length > 0) progress.line('Stopped.');
    instance.release();
  }
}

interface NamedService extends RunningService {
  title: string;
}

async function startServices(
  { services, progress, signal }: UpOptions,
  { engines, gaveUp }: RunningEngines,
  stack: (() => Promise<void>)[],
): Promise<NamedService[]> {
  const running: NamedService[] = [];
  for (const { title, start } of services) {
    signal.throwIfAborted();
    const service = await progress.step(title, () =>
      Promise.race([start(engines, signal), gaveUp, cancelled(signal)]),
    );
    running.push({ ...service, title });
    const { stop } = service;
    if (!stop) continue;
    stack.unshift(() =>
      progress.step(`${title} stopped`, () => within(stop(), SERVICE_STOP_TIMEOUT_MS, title)),
    );
  }
  return running;
}

/** Before anything that takes long. The API itself binds it later. */
async function requirePort(host: string, port: number): Promise<void> {
  if (port === 0) return;
  try {
    if (await isPortFree(port, host)) return;
  } catch (err) {
    if (hasCode(err, 'EACCES'))
      throw new UserError(`Port ${port} is for root only: choose one above 1023 with PORT.`);
    if (hasCode(err, 'EADDRNOTAVAIL') || hasCode(err, 'ENOTFOUND')) {
      throw new UserError(`${host} is no address of this machine: correct HOST.`);
    }
    throw err;
  }
  throw new UserError(
    `Port ${port} of ${host} is in use: stop what listens there, or choose another with PORT.`,
  );
}

function announce(
  config: Config,
  progress: Progress,
  engines: Engines,
  services: readonly NamedService[],
  instance: Instance,
  startedAt: number,
): void {
  const apiUrl =
    services.find((service) => service.url)?.url ?? `http://${config.server.host}:${config.server.port}`;
  instance.publish({
    apiUrl,
    temporalAddress: engines.temporalAddress,
    temporalUiUrl: engines.temporalUiUrl,
  });
  const table: (readonly [string, string])[] = [
    ['API', apiUrl],
    ['Temporal', engines.temporalAddress],
    ...(engines.temporalUiUrl ? ([['Temporal UI', engines.temporalUiUrl]] as const) : []),
    ...services.flatMap((service) => service.table ?? []),
    ['Data', config.data.directory],
    ['Logs', `${config.data.directory}/logs`],
  ];
  const width = Math.max(...table.map(([name]) => name.length));
  progress.line(`\nCallboard is up (${((Date.now() - startedAt) / 1000).toFixed(1)} s).\n`);
  for (const [name, value] of table) progress.line(`  ${name.padEnd(width)}  ${value}`);
  progress.line('\nCtrl-C stops it; everything is kept.');
}

/** One part that does not stop well must not keep the others from stopping. */
async function orderly(stop: () => Promise<void>, progress: Progress): Promise<void> {
  try {
    await stop();
  } catch (err) {
    progress.line(`  ! ${messageOf(err)}`);
  }
}

/** Resolves when the signal is aborted; until then it keeps the process from ending for lack of work. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const anchor = setInterval(() => undefined, 1 << 30);
    signal.addEventListener('abort', () => {
      clearInterval(anchor);
      resolve();
    });
  });
}

/** Rejects when the signal is aborted. */
function cancelled(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
  });
}

/** Never resolves for a service that cannot end by itself. */
async function endOf({ title, ended }: NamedService): Promise<never> {
  if (!ended) return new Promise<never>(() => undefined);
  let reason = 'it ended by itself';
  await ended.catch((err: unknown) => {
    reason = messageOf(err);
  });
  throw new UserError(`${title} does not run any more (${reason}): start Callboard again.`);
}

async function within(work: Promise<void>, timeoutMs: number, title: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${title} did not stop within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
