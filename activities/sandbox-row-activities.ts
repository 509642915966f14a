import type { SandboxStatus } from '../contract/sandbox.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';

/** Whether a sandbox has been idle for long enough, or how long to wait until it could have been. */
export type Idleness = { state: 'off' } | { state: 'idle' } | { state: 'wait'; waitMs: number };

/** Two looks are never closer together, in milliseconds. */
const SHORTEST_WAIT_MS = 1_000;

export interface SandboxRowDeps {
  sandboxes: Pick<SandboxRepository, 'read' | 'setStatus' | 'markDeleted' | 'idleMilliseconds'>;
  /** Idle time after which a sandbox is paused, in milliseconds; 0 is never. */
  idlePauseMs: number;
}

/** @param idleMs how long it has been idle, @param idlePauseMs after how long it is paused (0 is never); both in milliseconds */
export function idlenessAfter(idleMs: number, idlePauseMs: number): Idleness {
  if (idlePauseMs === 0) return { state: 'off' };
  const left = Math.ceil(idlePauseMs - idleMs);
  return left <= 0 ? { state: 'idle' } : { state: 'wait', waitMs: Math.max(left, SHORTEST_WAIT_MS) };
}

/** The mirror of a sandbox's actor in SQL, written by local activities. */
export function createSandboxRowActivities({ sandboxes, idlePauseMs }: SandboxRowDeps) {
  return {
    /** Writes where the actor stands, unless something with a greater revision has been written meanwhile. */
    recordSandboxStatus: (
      sandboxId: string,
      status: SandboxStatus,
      detail: string | null,
      revision?: number,
    ): Promise<void> => sandboxes.setStatus(sandboxId, status, { detail, revision }),
    /** The host that claimed the sandbox, or null when it was never placed. */
    findSandboxHost: async (sandboxId: string): Promise<string | null> =>
      (await sandboxes.read(sandboxId))?.hostId ?? null,
    recordSandboxDeleted: (sandboxId: string): Promise<void> => sandboxes.markDeleted(sandboxId),
    /** By the last message or event; what the agents are doing is asked when it comes to pausing. */
    async judgeIdleness(sandboxId: string): Promise<Idleness> {
      if (idlePauseMs === 0) return { state: 'off' };
      const idleMs = await sandboxes.idleMilliseconds(sandboxId);
      return idleMs === null ? { state: 'off' } : idlenessAfter(idleMs, idlePauseMs);
    },
  };
}

export type SandboxRowActivities = ReturnType<typeof createSandboxRowActivities>;
