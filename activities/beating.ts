import { heartbeat } from '@temporalio/activity';

/** How often a working activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 3_000;

/** Heartbeats for the whole length of the work: that is also how a cancellation reaches it. */
export async function beating<Result>(work: () => Promise<Result>): Promise<Result> {
  const beat = setInterval(() => heartbeat(), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}

/** How often progress is told at most, in milliseconds: well within the time that a heartbeat may be missing. */
const PROGRESS_MS = 1_500;

/**
 * Passes on what is told many times a second as often as somebody may want to know, and nothing of work that is over
 * before: each heartbeat is encrypted, sent and stored, the first of an activity at once.
 */
export function nowAndThen<Progress>(
  tell: (progress: Progress) => void,
  now: () => number = Date.now,
): (progress: Progress) => void {
  let told = now();
  return (progress) => {
    if (now() - told < PROGRESS_MS) return;
    told = now();
    tell(progress);
  };
}
