/** Notices what happens to the sandboxes of this host without anybody's doing: one watcher per host. */
import type { SandboxBackend, SandboxCondition, SandboxHandle } from './backend.js';

/** What can change: the condition of the thing, and whether what runs in it answers. */
export type SandboxChange = SandboxCondition | { state: 'silent' } | { state: 'answering' };

/** How the liveness of what runs is asked for. */
export interface LivenessCheck {
  /** True if it answers in time; never rejects. */
  isAnswering: (handle: SandboxHandle) => Promise<boolean>;
  /** Time between two questions in milliseconds. */
  everyMs: number;
  /** So many questions in a row must stay without answer before that is a change: a busy one is not a dead one. */
  patience: number;
}

export interface HostWatcherSettings {
  backend: Pick<SandboxBackend, 'inspect'>;
  /** Told of each change once. When it fails, it is told at the next look how things stand then, until it succeeds. */
  onChange: (sandboxId: string, change: SandboxChange, handle: SandboxHandle) => void | Promise<void>;
  /** Left out, only the condition is watched. */
  liveness?: LivenessCheck;
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
  /** The last report failed, which may have arrived all the same: what is seen next is reported, changed or not. */
  isUncertain: boolean;
  /** Whether the reporter knows it as silent. */
  isSilent: boolean;
  /** The same of reports of silence and its end. */
  isSilenceUncertain: boolean;
  /** Questions in a row that stayed without answer. */
  unanswered: number;
  nextQuestion: number;
  asking: boolean;
}

/** Looks into /proc (or asks the back-end otherwise); a healthy sandbox costs nobody else anything. */
export function createHostWatcher(settings: HostWatcherSettings): HostWatcher {
  const { backend, onChange, onError, liveness, intervalMs = 1000 } = settings;
  const watched = new Map<string, Watched>();
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<void> = Promise.resolve();

  async function look(one: Watched): Promise<void> {
    try {
      const condition = await backend.inspect(one.sandboxId, one.handle);
      // Watched anew or not at all meanwhile: what was seen may be the change that somebody has just made.
      if (watched.get(one.sandboxId) !== one) return;
      if (condition.state !== one.known || one.isUncertain) {
        if (one.known !== null || condition.state === 'gone') {
          one.isUncertain = true;
          await onChange(one.sandboxId, condition, one.handle);
        }
        one.isUncertain = false;
        one.known = condition.state;
        one.unanswered = 0;
        if (condition.state === 'gone' && watched.get(one.sandboxId) === one) watched.delete(one.sandboxId);
      }
      if (liveness && condition.state === 'running') ask(one, liveness);
    } catch (error) {
      onError(error, one.sandboxId);
    }
  }

  /** Beside the looks, which a slow answer must not hold up. */
  function ask(one: Watched, check: LivenessCheck): void {
    if (one.asking || Date.now() < one.nextQuestion) return;
    one.asking = true;
    question(one, check)
      .catch((error: unknown) => onError(error, one.sandboxId))
      .finally(() => {
        one.asking = false;
        one.nextQuestion = Date.now() + check.everyMs;
      });
  }

  async function question(one: Watched, { isAnswering, patience }: LivenessCheck): Promise<void> {
    const answered = await isAnswering(one.handle);
    // Frozen or ended meanwhile: no answer was to be expected.
    if (watched.get(one.sandboxId) !== one || one.known !== 'running') return;
    one.unanswered = answered ? 0 : one.unanswered + 1;
    const isSilent = one.isSilent ? !answered : one.unanswered >= patience;
    if (isSilent === one.isSilent && !one.isSilenceUncertain) return;
    one.isSilenceUncertain = true;
    await onChange(one.sandboxId, { state: isSilent ? 'silent' : 'answering' }, one.handle);
    one.isSilenceUncertain = false;
    one.isSilent = isSilent;
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
      watched.set(sandboxId, {
        sandboxId,
        handle,
        known: known ?? null,
        isUncertain: false,
        isSilent: false,
        isSilenceUncertain: false,
        unanswered: 0,
        nextQuestion: Date.now() + (liveness?.everyMs ?? 0),
        asking: false,
      });
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
