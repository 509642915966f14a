/** Notices what happens to the sandboxes of this host without anybody's doing: one watcher per host. */
import type { SandboxBackend, SandboxCondition, SandboxHandle } from './backend.js';

export interface HostWatcherSettings {
  backend: Pick<SandboxBackend, 'inspect'>;
  /** Told of each change once. When it fails, it is told again at the next look, until it succeeds. */
  onChange: (sandboxId: string, condition: SandboxCondition) => void | Promise<void>;
  /** Told of looks and reports that failed; they are tried again by themselves. */
  onError: (error: unknown, sandboxId: string) => void;
  /** Time between two looks in milliseconds; a second if left out. */
  intervalMs?: number;
}

export interface HostWatcher {
  /**
   * Watches a sandbox from now on. `known` is the state that the reporter knows of, so that anything else is a
   * change; left out, the first look finds out, and only a sandbox that is gone is a change then.
   */
  watch(sandboxId: string, handle: SandboxHandle, known?: 'running' | 'paused'): void;
  /** Stops watching; a look that is under way reports nothing any more. */
  unwatch(sandboxId: string): void;
  /** Whether it is looked at. */
  isWatching(sandboxId: string): boolean;
  /** Ends the watcher, after a report that is under way. */
  stop(): Promise<void>;
}

interface Watched {
  sandboxId: string;
  handle: SandboxHandle;
  known: SandboxCondition['state'] | null;
}

/** Looks into /proc (or asks the back-end otherwise); a healthy sandbox costs nobody else anything. */
export function createHostWatcher(settings: HostWatcherSettings): HostWatcher {
  const { backend, onChange, onError, intervalMs = 1000 } = settings;
  const watched = new Map<string, Watched>();
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<void> = Promise.resolve();

  async function look(one: Watched): Promise<void> {
    try {
      const condition = await backend.inspect(one.sandboxId, one.handle);
      // Watched anew or not at all meanwhile: what was seen may be the change that somebody has just made.
      if (watched.get(one.sandboxId) !== one) return;
      if (condition.state === one.known) return;
      if (one.known !== null || condition.state === 'gone') await onChange(one.sandboxId, condition);
      one.known = condition.state;
      if (condition.state === 'gone' && watched.get(one.sandboxId) === one) watched.delete(one.sandboxId);
    } catch (error) {
      onError(error, one.sandboxId);
    }
  }

  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      round = Promise.all([...watched.values()].map(look)).then(schedule);
    }, intervalMs);
  };
  schedule();

  return {
    watch(sandboxId, handle, known) {
      watched.set(sandboxId, { sandboxId, handle, known: known ?? null });
    },
    unwatch(sandboxId) {
      watched.delete(sandboxId);
    },
    isWatching: (sandboxId) => watched.has(sandboxId),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      watched.clear();
      await round;
    },
  };
}
