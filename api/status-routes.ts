import type { Client } from '@temporalio/client';
import type pg from 'pg';
import { z } from 'zod';
import { HttpError } from './http-error.js';
import { RETRY_AFTER_SECONDS } from './outages.js';
import { route, type RouteDefinition } from './route.js';
import { ServerInfo, type ServerMonitor } from './server-info.js';

/** Something this server cannot work without. */
export interface ReadinessCheck {
  /** As it is named to whoever asks: `database`, `workflow service`. */
  name: string;
  /** Rejects when it is not there. */
  check(): Promise<unknown>;
}

/** How long one part may take to answer, in milliseconds. */
const CHECK_LIMIT_MS = 2_000;

/** PostgreSQL answers. */
export const databaseCheck = (pool: Pick<pg.Pool, 'query'>): ReadinessCheck => ({
  name: 'database',
  check: () => pool.query('select 1'),
});

/** Temporal answers and has our namespace. */
export const temporalCheck = (client: Client): ReadinessCheck => ({
  name: 'workflow service',
  check: () =>
    client.withDeadline(Date.now() + CHECK_LIMIT_MS, () =>
      client.workflowService.describeNamespace({ namespace: client.options.namespace }),
    ),
});

export interface StatusRouteDeps {
  checks: readonly ReadinessCheck[];
  monitor: Pick<ServerMonitor, 'read'>;
}

/** Whether the server lives, is ready, and what it takes (contract 17); open to anybody. */
export function statusRoutes({ checks, monitor }: StatusRouteDeps): RouteDefinition[] {
  const common = { method: 'get', tag: 'Status', guard: 'open' } as const;
  return [
    route({
      ...common,
      path: '/alive',
      summary: 'Whether the process answers',
      responses: { 200: { description: 'It does.', schema: z.object({ status: z.literal('ok') }) } },
      handle: () => Promise.resolve({ status: 'ok' }),
    }),
    route({
      ...common,
      path: '/health',
      summary: 'Whether the process answers',
      responses: { 200: { description: 'It does.', schema: z.literal('OK') } },
      handle: () => Promise.resolve('OK'),
    }),
    route({
      ...common,
      path: '/ready',
      summary: 'Whether database and workflow service answer',
      responses: {
        200: { description: 'They do.', schema: z.literal('OK') },
        503: { description: 'The parts that do not are named.' },
      },
      async handle() {
        const failing = (await Promise.all(checks.map(failureOf))).filter((name) => name !== null);
        if (failing.length === 0) return 'OK';
        throw new HttpError(503, `Not ready: no answer from the ${failing.join(' and the ')}.`, undefined, {
          'Retry-After': String(RETRY_AFTER_SECONDS),
        });
      },
    }),
    route({
      ...common,
      path: '/server_info',
      summary: 'Uptime, idle time and resources of the process',
      responses: { 200: { description: 'Times in seconds, sizes in bytes.', schema: ServerInfo } },
      handle: () => monitor.read(),
    }),
  ];
}

/** @returns the name of a part that rejects, or does not answer in time; else null */
async function failureOf(part: ReadinessCheck): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(part.name), CHECK_LIMIT_MS);
  });
  const answered = part.check().then(
    () => null,
    () => part.name,
  );
  try {
    return await Promise.race([answered, late]);
  } finally {
    clearTimeout(timer);
  }
}
