import { MockActivityEnvironment } from '@temporalio/testing';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import { describe, expect, it } from 'vitest';
import { AgentServerError } from '../../../agent-server/errors.js';
import { databasePatience } from '../../../activities/database-patience.js';
import { isDatabaseOutage } from '../../../db/outages.js';

const coded = (code: string): Error => Object.assign(new Error(code), { code });

describe('an outage of the database', () => {
  it.each([
    ['a refused connection', coded('ECONNREFUSED'), true],
    ['a query over a lost connection', new DrizzleQueryError('select', [], coded('ECONNRESET')), true],
    ['a server that shuts down', new DrizzleQueryError('select', [], coded('57P01')), true],
    ['a silent server', new Error('Query read timeout'), true],
    ['a violated constraint', new DrizzleQueryError('insert', [], coded('23505')), false],
    [
      'a refused connection to an agent-server',
      new AgentServerError({
        kind: 'refused',
        status: null,
        call: 'GET /',
        detail: '',
        cause: coded('ECONNREFUSED'),
      }),
      false,
    ],
  ])('%s: %s is told apart', (_name, error, expected) => {
    expect(isDatabaseOutage(error)).toBe(expected);
  });
});

describe('an activity that meets an outage of the database', () => {
  const interceptor = databasePatience({ warn: () => undefined })({} as never).inbound!;
  const run = (environment: MockActivityEnvironment, work: () => Promise<unknown>) =>
    environment.run(() => interceptor.execute!({ args: [], headers: {} }, work));

  it('is done again until the database is back, without using up an attempt', async () => {
    let calls = 0;
    const result = run(new MockActivityEnvironment(), async () => {
      if (++calls < 3) throw coded('ECONNREFUSED');
      return calls;
    });
    expect(await result).toBe(3);
  });

  it('fails at once of anything else', async () => {
    let calls = 0;
    const result = run(new MockActivityEnvironment(), async () => {
      calls++;
      throw coded('23505');
    });
    await expect(result).rejects.toThrow('23505');
    expect(calls).toBe(1);
  });

  it('ends when it is cancelled while it waits', async () => {
    const environment = new MockActivityEnvironment();
    const result = run(environment, async () => {
      environment.cancel('CANCELLED');
      throw coded('ECONNREFUSED');
    });
    await expect(result).rejects.toThrow();
  });
});
