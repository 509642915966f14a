import { ActivityFailure, ApplicationFailure, isCancellation, TimeoutFailure } from '@temporalio/workflow';

/** What went wrong, in the words of the activity that saw it. */
export interface Explanation {
  /** A sentence for people; secrets were masked where it was made. */
  message: string;
  /** PascalCase noun of the condition. */
  type: string;
}

const TIMEOUTS: Record<string, string | undefined> = {
  SCHEDULE_TO_START: 'no worker of the host took it up: check that `callboard worker` runs there',
  HEARTBEAT: 'its worker stopped reporting progress',
};

/** Unwraps a failure of an activity down to the sentence worth showing. */
export function explain(err: unknown): Explanation {
  if (isCancellation(err)) return { message: 'cancelled', type: 'Cancelled' };
  if (err instanceof ActivityFailure) {
    const { cause } = err;
    if (cause instanceof TimeoutFailure) {
      const why = TIMEOUTS[cause.timeoutType ?? ''] ?? 'it took longer than its time limit';
      return { message: `${err.activityType} did not end: ${why}.`, type: 'ActivityTimeout' };
    }
    if (cause) return explain(cause);
  }
  if (err instanceof ApplicationFailure) return { message: err.message, type: err.type ?? 'Failure' };
  return { message: err instanceof Error ? err.message : String(err), type: 'Failure' };
}
