import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { SandboxConversations } from '../db/sandbox-conversations.js';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxBackend } from '../sandboxes/backend.js';
import type { HostWatcher } from '../sandboxes/host-watcher.js';
import type { SandboxAgents } from './sandbox-agents.js';

/** How often a working activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 2_000;
/** How long a thawed agent-server may take to answer, in milliseconds: what it had swapped out comes back first. */
const AWAKE_MS = 20_000;

/**
 * - `ordered`: whatever the agents do; they are asked to pause first;
 * - `idle`: only if nothing has happened for the time in the settings, and nothing happens now;
 * - `room`: for another sandbox of the user; only if nothing happens now.
 */
export type SuspendMode = 'ordered' | 'idle' | 'room';

export interface SuspendResult {
  state: 'paused' | 'gone' | 'busy';
  /** Why, for people, where the order did not say it. */
  detail?: string;
}

export interface SandboxSleepDeps {
  backend: Pick<SandboxBackend, 'find' | 'inspect' | 'pause' | 'resume'>;
  sandboxes: Pick<SandboxRepository, 'read' | 'idleMilliseconds' | 'touch'>;
  conversations: Pick<SandboxConversations, 'markPaused'>;
  agents: SandboxAgents;
  watcher: Pick<HostWatcher, 'watch' | 'unwatch'>;
  /** Idle time after which a sandbox is paused, in milliseconds; 0 is never. */
  idlePauseMs: number;
  /** Replaces the limit in tests, in milliseconds. */
  awakeMs?: number;
}

/** Putting a sandbox to sleep and waking it. Each may run twice, so each first looks what is there. */
export function createSandboxSleepActivities(deps: SandboxSleepDeps) {
  const { backend, sandboxes, conversations, agents, watcher, idlePauseMs, awakeMs = AWAKE_MS } = deps;

  /** What keeps a sandbox awake that was to sleep by itself. */
  const isBusy = async (row: SandboxRecord, url: string, mode: SuspendMode): Promise<boolean> => {
    if (mode === 'ordered') return false;
    if (mode === 'idle') {
      if (idlePauseMs === 0) return true;
      const idleMs = await sandboxes.idleMilliseconds(row.id);
      if (idleMs === null || idleMs < idlePauseMs) return true;
    }
    if (!(await agents.areBusy(row, url, cancellationSignal()))) return false;
    await sandboxes.touch(row.id); // it is at work, which is as good as a message
    return true;
  };

  return {
    /**
     * Freezes it, after its agents have been asked to pause and had ten seconds for it. Without an order for it, it is
     * left alone while anything happens in it.
     */
    suspend: (
      sandboxId: string,
      { mode }: { mode: SuspendMode } = { mode: 'ordered' },
    ): Promise<SuspendResult> =>
      beating('pausing', async () => {
        const [handle, row] = await Promise.all([backend.find(sandboxId), sandboxes.read(sandboxId)]);
        if (!handle) return { state: 'gone' };
        const { state } = await backend.inspect(sandboxId, handle);
        if (state === 'gone') return { state };
        if (state === 'running' && row) {
          if (await isBusy(row, handle.url, mode)) return { state: 'busy' };
          if (mode === 'ordered') await agents.quiesce(row, handle.url, cancellationSignal());
        }
        watcher.unwatch(sandboxId); // this change is wanted, not observed
        await backend.pause(sandboxId, handle);
        watcher.watch(sandboxId, handle, 'paused');
        await conversations.markPaused(sandboxId);
        if (mode !== 'idle') return { state: 'paused' };
        return {
          state: 'paused',
          detail: `paused after ${inWords(idlePauseMs)} without message or event; resume it, or send a message`,
        };
      }),

    /** Thaws it; `gone` when there is nothing to thaw, `silent` when it lives and does not answer. */
    awaken: (sandboxId: string): Promise<{ state: 'running' | 'gone' | 'silent' }> =>
      beating('resuming', async () => {
        const [handle, row] = await Promise.all([backend.find(sandboxId), sandboxes.read(sandboxId)]);
        if (!handle || !row) return { state: 'gone' };
        watcher.unwatch(sandboxId);
        await backend.resume(sandboxId, handle);
        const answers = await agents.answers(row, handle.url, awakeMs, cancellationSignal());
        const { state } = await backend.inspect(sandboxId, handle);
        if (state === 'gone') return { state };
        watcher.watch(sandboxId, handle, 'running');
        return { state: answers ? 'running' : 'silent' };
      }),
  };
}

/** A time in milliseconds as people say it. */
function inWords(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  const [amount, unit] = seconds % 60 === 0 ? [seconds / 60, 'minute'] : [seconds, 'second'];
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`;
}

/** Heartbeats for the whole length of the work: that is also how a cancellation reaches it. */
async function beating<Result>(phase: string, work: () => Promise<Result>): Promise<Result> {
  const beat = setInterval(() => heartbeat({ phase }), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}
