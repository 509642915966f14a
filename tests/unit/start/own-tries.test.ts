import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import { describe, expect, it } from 'vitest';
import type { ActivityScope } from '../../../activities/start/activity-scope.js';
import { withOwnTries } from '../../../activities/start/own-tries.js';

const scopeOf = (signal = new AbortController().signal): ActivityScope => ({
  signal,
  attempt: 3,
  heartbeat: () => undefined,
});

/** Fails with these, one try after the other, then ends well; how it ended, and the attempts it was told. */
async function outcome(failures: unknown[], scope = scopeOf()) {
  const attempts: number[] = [];
  const result = await withOwnTries(scope, ({ attempt }) => {
    attempts.push(attempt);
    const failure = failures[attempts.length - 1];
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- whatever a library throws
    return failure === undefined ? Promise.resolve('done') : Promise.reject(failure);
  }).catch((error: unknown) => error);
  return { result, attempts };
}

const passing = ApplicationFailure.retryable('nobody listens', 'AgentServerUnavailable');
const permanent = ApplicationFailure.nonRetryable('no such branch', 'BranchNotFound');

describe('work with tries of its own', () => {
  it('is tried once more, as a later attempt', async () => {
    expect(await outcome([passing])).toEqual({ result: 'done', attempts: [3, 4] });
  });

  it('is given up for good after the second try, with what it said', async () => {
    const { result, attempts } = await outcome([passing, passing]);
    expect(attempts).toEqual([3, 4]);
    expect(result).toMatchObject({
      message: 'nobody listens',
      type: 'AgentServerUnavailable',
      nonRetryable: true,
    });
  });

  it('is not tried again when that would only repeat its failure', async () => {
    expect(await outcome([permanent])).toEqual({ result: permanent, attempts: [3] });
  });

  it('that is handed over to another worker has not failed', async () => {
    const worker = new AbortController();
    const reason = new CancelledFailure('WORKER_SHUTDOWN');
    worker.abort(reason);
    expect(await outcome([reason], scopeOf(worker.signal))).toEqual({ result: reason, attempts: [3] });
  });

  it('leaves waiting for the database to those who know how', async () => {
    const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    expect(await outcome([away])).toEqual({ result: away, attempts: [3] });
  });

  it('does not repeat the values of a failed query', async () => {
    const query = () =>
      new DrizzleQueryError('insert into t values ($1)', ['s3cret'], new Error('duplicate key'));
    const { result } = await outcome([query(), query()]);
    expect(result).toMatchObject({
      message: 'a query failed: insert into t values ($1)',
      nonRetryable: true,
    });
  });
});
