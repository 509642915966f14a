import { setTimeout as sleep } from 'node:timers/promises';
import { UserError, messageOf } from '../user-error.js';
import type { EngineExit } from './engine-process.js';

/** What is supervised: a server that can end by itself. */
export interface Engine {
  pid: number;
  logFile: string;
  exited: Promise<EngineExit>;
  stop: () => Promise<void>;
}

export interface SupervisedEngine<E extends Engine> {
  /** The first one started; its addresses hold for its successors. */
  engine: E;
  /** Rejects with a `UserError` once the server cannot be kept running; never resolves. */
  gaveUp: Promise<never>;
  stop: () => Promise<void>;
}

export interface SupervisionOptions<E extends Engine> {
  name: string;
  start: () => Promise<E>;
  /** Whether others, who know the first one's addresses, can use the successor. */
  isSame: (first: E, successor: E) => boolean;
  log: (line: string) => void;
  /** How often within a minute it is started again. */
  restartsPerMinute?: number;
}

/** Starts a server, and starts it again whenever it ends without having been asked to. */
export async function superviseEngine<E extends Engine>(
  options: SupervisionOptions<E>,
): Promise<SupervisedEngine<E>> {
  const { name, start, isSame, log, restartsPerMinute = 5 } = options;
  const first = await start();
  let current = first;
  let stopping = false;
  let restarting: Promise<void> = Promise.resolve();
  const restarts: number[] = [];

  const gaveUp = new Promise<never>((_, reject) => {
    const restart = async (exit: EngineExit): Promise<void> => {
      const how = exit.signal ?? `status ${exit.code ?? 'unknown'}`;
      const lately = restarts.filter((at) => at > Date.now() - 60_000).length;
      if (lately >= restartsPerMinute) {
        throw new UserError(
          `${name} ended ${lately + 1} times within a minute, at last with ${how}: read ${current.logFile}, and start again.`,
        );
      }
      log(`${name} ended with ${how}; starting it again`);
      restarts.push(Date.now());
      await sleep(100 * lately);
      if (stopping) return;
      const successor = await start();
      current = successor;
      if (!isSame(first, successor)) {
        throw new UserError(
          `${name} had to take another port, because its own was taken while it was down: start again.`,
        );
      }
      watch(successor);
    };
    const watch = (engine: E): void => {
      void engine.exited.then((exit) => {
        if (stopping) return;
        restarting = restart(exit).catch((err: unknown) => {
          reject(
            err instanceof UserError
              ? err
              : new UserError(`${name} cannot be started again: ${messageOf(err)}`),
          );
        });
      });
    };
    watch(first);
  });
  gaveUp.catch(() => undefined); // whoever waits for it hears of it

  return {
    engine: first,
    gaveUp,
    stop: async () => {
      stopping = true;
      await restarting;
      await current.stop();
    },
  };
}
