import type { SandboxStatus } from '../contract/sandbox.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';

/** The mirror of a sandbox's actor in SQL, written by local activities. */
export function createSandboxRowActivities({ sandboxes }: { sandboxes: SandboxRepository }) {
  return {
    recordSandboxStatus: (sandboxId: string, status: SandboxStatus, detail: string | null): Promise<void> =>
      sandboxes.setStatus(sandboxId, status, { detail }),
    /** The host that claimed the sandbox, or null when it was never placed. */
    findSandboxHost: async (sandboxId: string): Promise<string | null> =>
      (await sandboxes.read(sandboxId))?.hostId ?? null,
    recordSandboxDeleted: (sandboxId: string): Promise<void> => sandboxes.markDeleted(sandboxId),
  };
}

export type SandboxRowActivities = ReturnType<typeof createSandboxRowActivities>;
