/** Phases in which a handover from worker to worker is one thing, and work that went wrong another. */
import { ApplicationFailure } from '@temporalio/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDatabaseOutage } from '../../db/outages.js';
import { tellable } from '../failure-masking.js';
import type { ActivityScope } from './activity-scope.js';

const TRIES = 2;
/** Before the second try; doubled for each further one. */
const PAUSE_MS = 500;

/**
 * Does work that has two tries, or as many as are given, within one attempt. Temporal counts an attempt also when a worker was stopped, killed or
 * frozen, as often as that happens, so its attempts have no number there; what goes wrong itself is over with the last
 * try, and said so.
 */
export async function withOwnTries<Result>(
  scope: ActivityScope,
  work: (scope: ActivityScope) => Promise<Result>,
  tries = TRIES,
): Promise<Result> {
  for (let done = 0; ; done++) {
    try {
      return await work({ ...scope, attempt: scope.attempt + done });
    } catch (error) {
      const isOthers = scope.signal.aborted || isDatabaseOutage(error);
      if (isOthers || (error instanceof ApplicationFailure && error.nonRetryable)) throw error;
      if (done + 1 === tries) throw final(error);
    }
    await sleep(PAUSE_MS * 2 ** done);
    scope.signal.throwIfAborted();
  }
}

function final(error: unknown): ApplicationFailure {
  if (!(error instanceof Error)) return ApplicationFailure.nonRetryable(String(error), 'Failure');
  const type = error instanceof ApplicationFailure ? error.type : error.name;
  return ApplicationFailure.create({
    message: tellable(error),
    type: type ?? 'Failure',
    nonRetryable: true,
    cause: error,
  });
}
