/** What the steps of a start need to know of the activity they run in; tests give one without Temporal. */
import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { nowAndThen } from '../beating.js';

export interface ActivityScope {
  /** Aborts when the activity is cancelled. */
  readonly signal: AbortSignal;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** Says that the activity is alive, and how it is getting on; sent when the last one is some time ago. */
  heartbeat(details: Record<string, unknown>): void;
}

/** Twice and more within the shortest heartbeat timeout, however slow a single call is. */
const BEAT_MS = 2_000;

/** The activity that is running. */
export const currentActivity = (): ActivityScope => ({
  signal: cancellationSignal(),
  attempt: activityInfo().attempt,
  heartbeat: nowAndThen((details: Record<string, unknown>) => heartbeat(details)),
});

/**
 * Runs a phase and reports its name, elapsed milliseconds and progress until it ends.
 * @param progress asked at each beat; what it answers goes into the heartbeat's details.
 */
export async function whileBeating<Result>(
  scope: ActivityScope,
  phase: string,
  work: () => Promise<Result>,
  progress: () => Record<string, unknown> = () => ({}),
): Promise<Result> {
  const began = Date.now();
  const beat = () => scope.heartbeat({ phase, elapsedMs: Date.now() - began, ...progress() });
  beat(); // the phases before may have taken as long as one is not to be silent
  const timer = setInterval(beat, BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/**
 * True when somebody has called off the start. Every other abort (the worker goes away, Temporal gave the attempt up)
 * is followed by another attempt, and what runs in the sandbox is left for that.
 */
export const isCalledOff = (signal: AbortSignal): boolean =>
  signal.aborted && signal.reason instanceof Error && signal.reason.message === 'CANCELLED';
