import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { SandboxStatus } from '../../contract/sandbox.js';

/** A host that keeps its sandboxes in memory and can be told to misbehave. */
export class FakeHost {
  readonly things = new Map<string, 'running' | 'paused'>();
  readonly rows = new Map<string, { status: SandboxStatus; detail: string | null }[]>();
  boots = 0;
  failBoot: string | null = null;
  holdBoot = false;

  constructor(readonly hostId: string) {}

  statuses = (id: string): SandboxStatus[] => (this.rows.get(id) ?? []).map((row) => row.status);

  rowActivities = {
    recordSandboxStatus: async (id: string, status: SandboxStatus, detail: string | null) => {
      this.rows.set(id, [...(this.rows.get(id) ?? []), { status, detail }]);
    },
    recordSandboxDeleted: async (id: string) => {
      this.rows.set(id, [...(this.rows.get(id) ?? []), { status: 'MISSING' as const, detail: 'deleted' }]);
    },
    findSandboxHost: async () => this.hostId,
  };

  hostActivities = {
    boot: async (id: string) => {
      this.boots++;
      this.things.set(id, 'running');
      while (this.holdBoot) {
        Context.current().heartbeat();
        await Context.current().sleep(20);
      }
      if (this.failBoot) throw ApplicationFailure.nonRetryable(this.failBoot, 'SandboxExited');
      return { outcome: 'running' as const, hostId: this.hostId };
    },
    suspend: async (id: string) => {
      if (!this.things.has(id)) return { state: 'gone' as const };
      this.things.set(id, 'paused');
      return { state: 'paused' as const };
    },
    awaken: async (id: string) => {
      if (!this.things.has(id)) return { state: 'gone' as const };
      this.things.set(id, 'running');
      return { state: 'running' as const };
    },
    destroy: async (id: string) => void this.things.delete(id),
  };
}
