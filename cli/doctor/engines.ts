/** PostgreSQL and Temporal: whether they answer, what they are, and whether their clocks agree with ours. */
import type { Client } from '@temporalio/client';
import proto from '@temporalio/proto';
import type pg from 'pg';
import { shippedMigrations } from '../../db/migrate.js';
import { messageOf } from '../user-error.js';
import type { Report } from './finding.js';

/** Differences between clocks that nobody has to think about, in milliseconds. */
const SKEW_MS = 2_000;
const OLDEST_POSTGRES = 140_000;

/** @returns whether the database can be worked with */
export async function checkDatabase(pool: pg.Pool, isEmbedded: boolean, report: Report): Promise<boolean> {
  const about = 'PostgreSQL';
  try {
    const asked = Date.now();
    const { rows } = await pool.query<{ version: string; number: number; now: Date; migrations: boolean }>(`
      select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
        clock_timestamp() as now, to_regclass('drizzle.__drizzle_migrations') is not null as migrations`);
    const [row] = rows;
    if (!row) throw new Error('it gave no answer');
    const isOld = row.number < OLDEST_POSTGRES;
    report({
      level: isOld ? 'problem' : 'ok',
      about,
      text: `version ${row.version}${isEmbedded ? ', embedded' : ''} answers`,
      ...(isOld ? { todo: 'use PostgreSQL 14 or later' } : {}),
    });
    const skew = Math.abs(row.now.getTime() - (asked + Date.now()) / 2);
    if (skew > SKEW_MS) {
      report({
        level: 'problem',
        about: 'clock',
        text: `this machine and PostgreSQL differ by ${Math.round(skew / 1000)} s`,
        todo: 'set both clocks by NTP: ages of sandboxes and starts are reckoned with them',
      });
    }
    return row.migrations ? await checkSchema(pool, report) : schemaMissing(report);
  } catch (err) {
    report({
      level: 'problem',
      about,
      text: `does not answer: ${messageOf(err)}`,
      todo: isEmbedded
        ? 'start Callboard (./callboard up), and run doctor again beside it'
        : 'start it, or correct DATABASE_URL',
    });
    return false;
  }
}

async function checkSchema(pool: pg.Pool, report: Report): Promise<boolean> {
  const known = shippedMigrations();
  const { rows } = await pool.query<{ last: string | null }>(
    'select max(created_at)::text as last from drizzle.__drizzle_migrations',
  );
  const last = Number(rows[0]?.last ?? 0);
  const newest = known.at(-1);
  const missing = known.filter(({ when }) => when > last);
  if (missing.length > 0) {
    report({
      level: 'problem',
      about: 'schema',
      text: `lacks ${missing.map(({ tag }) => tag).join(', ')}`,
      todo: './callboard migrate, or start Callboard',
    });
    return false;
  }
  const isNewer = last > (newest?.when ?? 0);
  report({
    level: isNewer ? 'problem' : 'ok',
    about: 'schema',
    text: isNewer
      ? 'is of a later version of Callboard'
      : `is that of this version (${newest?.tag ?? 'none'})`,
    ...(isNewer ? { todo: 'run that version: an older one may not understand what it has written' } : {}),
  });
  return true;
}

function schemaMissing(report: Report): false {
  report({
    level: 'note',
    about: 'schema',
    text: 'is not there yet',
    todo: 'start Callboard, or ./callboard migrate',
  });
  return false;
}

const CHECK_LIMIT_MS = 5_000;

/** @returns whether Temporal can be asked */
export async function checkTemporal(client: Client, isEmbedded: boolean, report: Report): Promise<boolean> {
  const about = 'Temporal';
  try {
    const { namespace } = client.options;
    const info = await client.withDeadline(Date.now() + CHECK_LIMIT_MS, async () => {
      await client.workflowService.describeNamespace({ namespace });
      return client.workflowService.getSystemInfo({});
    });
    const queue = await client.withDeadline(Date.now() + CHECK_LIMIT_MS, () =>
      client.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: 'callboard' },
        taskQueueType: proto.temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
      }),
    );
    const workers = queue.pollers?.length ?? 0;
    report({
      level: 'ok',
      about,
      text: `version ${info.serverVersion ?? 'unknown'}${isEmbedded ? ', embedded' : ''} answers and has the namespace ${namespace}`,
    });
    report({
      level: workers > 0 ? 'ok' : 'problem',
      about: 'worker',
      text:
        workers > 0
          ? `${workers} polled within the last minutes`
          : 'none polls: no start and no order goes on',
      ...(workers > 0 ? {} : { todo: 'start one: ./callboard worker, or ./callboard up' }),
    });
    return true;
  } catch (err) {
    report({
      level: 'problem',
      about,
      text: `does not answer: ${messageOf(err)}`,
      todo: isEmbedded ? 'start Callboard (./callboard up)' : 'start it, or correct TEMPORAL_ADDRESS',
    });
    return false;
  }
}
