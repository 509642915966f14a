import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { BootOptions } from '../../activities/sandbox-host-activities.js';
import type { SuspendMode } from '../../activities/sandbox-sleep-activities.js';
import type { Idleness } from '../../activities/sandbox-row-activities.js';
import type { SandboxStatus } from '../../contract/sandbox.js';

/** A host that keeps its sandboxes in memory and can be told to misbehave. */
export class FakeHost {
  readonly things = new Map<string, 'running' | 'paused'>();
  readonly rows = new Map<string, { status: SandboxStatus; detail: string | null }[]>();
  /** Which thing runs for a sandbox: one more with each launch. */
  readonly launches = new Map<string, number>();
  /** Numbers under which statuses were written, by the actor or by a boot, in their order. */
  readonly revisions = new Map<string, number[]>();
  /** Sandboxes whose agents work: they do not sleep by themselves. */
  readonly busy = new Set<string>();
  /** Sandboxes that live and do not answer. */
  readonly silent = new Set<string>();
  /** Activities in the order in which they began, with the sandbox. */
  readonly calls: string[] = [];
  /** Activities that wait until they are taken out again; of all sandboxes, or `<activity> <sandbox id>`. */
  readonly held = new Set<string>();
  /** Activities that fail, with the reason; of all sandboxes, or `<activity> <sandbox id>`. */
  readonly failing = new Map<string, string>();
  /** What a boot tells of it; nothing, as workers of earlier versions did, unless given. */
  idlenessOfBoot: Idleness | undefined;
  /** Answers of the idle look, one after another; the last one stays. */
  idleness: Idleness[] = [{ state: 'off' }];
  boots = 0;
  failBoot: string | null = null;
  holdBoot = false;
  /** Most boots of one sandbox that were under way at the same time. */
  mostBootsAtOnce = 0;
  readonly #booting = new Map<string, number>();

  constructor(readonly hostId: string) {}

  statuses = (id: string): SandboxStatus[] => (this.rows.get(id) ?? []).map((row) => row.status);
  /** Name of the thing that was launched last. */
  thing = (id: string): string => `${id}/${this.launches.get(id) ?? 0}`;

  #note(id: string, revision: number | undefined): void {
    this.revisions.set(id, [
      ...(this.revisions.get(id) ?? []),
      ...(revision === undefined ? [] : [revision]),
    ]);
  }

  rowActivities = {
    recordSandboxStatus: async (
      id: string,
      status: SandboxStatus,
      detail: string | null,
      revision?: number,
    ) => {
      this.#note(id, revision);
      this.rows.set(id, [...(this.rows.get(id) ?? []), { status, detail }]);
    },
    recordSandboxDeleted: async (id: string) => {
      this.rows.set(id, [...(this.rows.get(id) ?? []), { status: 'MISSING' as const, detail: 'deleted' }]);
    },
    findSandboxHost: async () => this.hostId,
    judgeIdleness: async (id: string): Promise<Idleness> => {
      this.calls.push(`judgeIdleness ${id}`);
      return (this.idleness.length > 1 ? this.idleness.shift() : this.idleness[0]) ?? { state: 'off' };
    },
    catchUpSandbox: async (id: string) => void this.calls.push(`catchUpSandbox ${id}`),
  };

  hostActivities = {
    boot: async (id: string, { replaceSilent, revision }: BootOptions = { replaceSilent: false }) => {
      this.boots++;
      this.#note(id, revision);
      const now = (this.#booting.get(id) ?? 0) + 1;
      this.#booting.set(id, now);
      this.mostBootsAtOnce = Math.max(this.mostBootsAtOnce, now);
      try {
        if (replaceSilent && this.silent.delete(id)) this.things.delete(id);
        if (!this.things.has(id)) this.launches.set(id, (this.launches.get(id) ?? 0) + 1);
        this.things.set(id, 'running');
        await this.#begin('boot', id);
        if (this.failBoot) throw ApplicationFailure.nonRetryable(this.failBoot, 'SandboxExited');
      } finally {
        this.#booting.set(id, (this.#booting.get(id) ?? 1) - 1);
      }
      return {
        outcome: 'running' as const,
        hostId: this.hostId,
        thing: this.thing(id),
        ...(this.idlenessOfBoot ? { idleness: this.idlenessOfBoot } : {}),
      };
    },
    suspend: async (id: string, { mode }: { mode: SuspendMode } = { mode: 'ordered' }) => {
      await this.#begin('suspend', id);
      if (!this.things.has(id)) return { state: 'gone' as const };
      if (mode !== 'ordered' && this.busy.has(id)) return { state: 'busy' as const };
      this.things.set(id, 'paused');
      return { state: 'paused' as const, ...(mode === 'idle' ? { detail: 'paused after a while' } : {}) };
    },
    awaken: async (id: string) => {
      await this.#begin('awaken', id);
      if (!this.things.has(id)) return { state: 'gone' as const };
      this.things.set(id, 'running');
      return { state: this.silent.has(id) ? ('silent' as const) : ('running' as const) };
    },
    destroy: async (id: string) => {
      await this.#begin('destroy', id);
      this.things.delete(id);
    },
  };

  async #begin(activity: string, id: string): Promise<void> {
    this.calls.push(`${activity} ${id}`);
    const isHeld = () =>
      this.held.has(activity) || this.held.has(`${activity} ${id}`) || (activity === 'boot' && this.holdBoot);
    while (isHeld()) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
    const reason = this.failing.get(`${activity} ${id}`) ?? this.failing.get(activity);
    if (!reason) return;
    throw ApplicationFailure.nonRetryable(reason, reason === 'SandboxDeleted' ? reason : 'HostFailure');
  }
}
