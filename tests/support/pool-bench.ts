import { sql } from 'drizzle-orm';
import { expect, vi } from 'vitest';
import { sandboxPoolWorkflowId } from '../../contract/ids.js';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import type { ApiFixture } from './api-fixture.js';

/** Twenty starts at once take half a minute on a crowded machine. */
export const WITHIN = { timeout: 180_000, interval: 50 };
/** The spec of which the API that tests run keeps some. */
export const SPEC = 'spec';
export const START = '/api/v1/app-conversations';

/** What tests do with an API that keeps sandboxes warm. */
export function poolBench(api: () => ApiFixture) {
  const handle = () => api().temporal.client.workflow.getHandle(sandboxPoolWorkflowId(SPEC));
  const rowOf = async (id: string) => (await api().sandboxes.read(id))!;
  const self = {
    handle,
    rowOf,
    warm: () => api().pool.warm.ofSpec(SPEC),
    wake: () => api().pool.actors.wake(SPEC),
    /** Waits until so many are ready and nothing else is there; returns their ids. */
    ready: (count: number) =>
      vi.waitFor(async () => {
        const warm = await self.warm();
        expect(warm.map(({ status, retired }) => (retired ? 'retired' : status))).toEqual(
          Array(count).fill('RUNNING'),
        );
        return warm.map(({ id }) => id);
      }, WITHIN),
    async start(body: object = {}, user = 'ann') {
      const answer = await api().call<StartTask>('POST', START, { user, body });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return answer.body;
    },
    ended: (id: string, user = 'ann') =>
      vi.waitFor(async () => {
        const { body } = await api().call<(StartTask | null)[]>('GET', `${START}/start-tasks?ids=${id}`, {
          user,
        });
        expect(body[0] && isTerminal(body[0].status)).toBe(true);
        return body[0]!;
      }, WITHIN),
    /** A start from its request to its end. */
    run: async (body: object = {}, user = 'ann') => self.ended((await self.start(body, user)).id, user),
    listed: async (user: string) =>
      (
        await api().call<{ items: { id: string }[] }>('GET', '/api/v1/sandboxes/search', { user })
      ).body.items.map(({ id }) => id),
    /** Ends the pool and all that it keeps. */
    async clear() {
      await vi.waitFor(async () => {
        // Again and again: the look that a start has asked for, two seconds ago, opens it again.
        await api().pool.actors.close(SPEC);
        const running = await handle()
          .describe()
          .then(
            ({ status }) => status.name === 'RUNNING',
            () => false,
          );
        expect(running).toBe(false);
      }, WITHIN);
      await api().database.execute(sql`delete from sandboxes where warm_since is not null`);
      // What came before is no demand of the next test.
      await api().database.execute(sql`update sandboxes set created_at = now() - interval '1 hour'`);
      api().conduct.booted.length = 0;
    },
  };
  return self;
}
