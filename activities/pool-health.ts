import type { WarmSandbox } from '../db/warm-sandboxes.js';

/** How long one may take to answer, in milliseconds. */
const ANSWER_MS = 1_000;
/** For how long one must have been silent, at two looks at least, in milliseconds: a crowded machine is no reason. */
const SILENT_MS = 20_000;

/** Whether the agent-server at an address answers in time; never rejects. */
export type IsAnswering = (url: string, timeoutMs: number) => Promise<boolean>;

/**
 * Tells which warm sandboxes are out of reach. Their own host tells when a process ends; when a host is gone nobody does,
 * and only who asks across the network notices.
 */
export function createPoolHealth(isAnswering: IsAnswering, now: () => number = Date.now) {
  const silentSince = new Map<string, number>();

  const isOutOfReach = async ({ id, agentServerUrl }: WarmSandbox): Promise<boolean> => {
    if (agentServerUrl !== null && (await isAnswering(agentServerUrl, ANSWER_MS))) {
      silentSince.delete(id);
      return false;
    }
    const since = silentSince.get(id);
    if (since === undefined) silentSince.set(id, now());
    return since !== undefined && now() - since >= SILENT_MS;
  };

  /** Ids of those that have not answered for long enough. */
  return async (sandboxes: readonly WarmSandbox[]): Promise<ReadonlySet<string>> => {
    const ids = new Set(sandboxes.map(({ id }) => id));
    for (const id of silentSince.keys()) if (!ids.has(id)) silentSince.delete(id);
    const running = sandboxes.filter(({ status, retired }) => status === 'RUNNING' && !retired);
    const out = await Promise.all(running.map(isOutOfReach));
    return new Set(running.filter((_, index) => out[index]).map(({ id }) => id));
  };
}
