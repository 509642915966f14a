import { activityInfo, cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import type { Logger } from 'pino';
import { isDatabaseOutage } from '../db/outages.js';

/** Pauses between two looks whether the database is back, in milliseconds. */
const WAIT = { first: 200, longest: 2_000 };

/**
 * Has activities wait while PostgreSQL is away, instead of using up their attempts: an outage of a minute is no reason
 * for a start to fail. What an activity has done until then it does again, as after a crash. Its time limits hold, and
 * it can be cancelled; local activities, which hold up their workflow's task, are left to Temporal's own repetitions.
 */
export const databasePatience =
  (logger: Pick<Logger, 'warn'>): ActivityInterceptorsFactory =>
  () => ({
    inbound: {
      async execute(input, next) {
        if (activityInfo().isLocal) return next(input);
        for (let wait = WAIT.first; ; wait = Math.min(wait * 2, WAIT.longest)) {
          try {
            return await next(input);
          } catch (error) {
            if (!isDatabaseOutage(error) || cancellationSignal().aborted) throw error;
            const { activityType } = activityInfo();
            logger.warn({ err: error, activity: activityType }, 'an activity waits for the database');
          }
          heartbeat({ phase: 'waiting for the database' });
          await sleep(wait);
        }
      },
    },
  });
