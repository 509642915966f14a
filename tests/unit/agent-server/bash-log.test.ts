import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { commandLog } from '../../../agent-server/bash-log.js';
import type { Transport } from '../../../agent-server/transport.js';

const STARTED = Date.parse('2026-11-22T12:00:00Z');

/**
 * An agent-server that knows one command without a result.
 * @param commandAt when the command began, in milliseconds after the server's own start
 * @param answers how long it takes to tell of itself, call by call, in milliseconds; its age is that of the beginning
 */
function serverWith(commandAt: number, answers: number[]): Pick<Transport, 'json'> & { asked: () => number } {
  let asked = 0;
  const command = {
    id: 'c',
    kind: 'BashCommand',
    timestamp: new Date(STARTED + commandAt).toISOString(),
    command: ': mark; sleep 60',
    timeout: 60,
  };
  return {
    asked: () => asked,
    json: (call, schema) => {
      if (call.path === '/server_info') {
        const uptime = Math.floor((Date.now() - STARTED) / 1_000);
        vi.setSystemTime(Date.now() + (answers[asked++] ?? 0));
        return Promise.resolve(schema.parse({ version: '1', uptime, idle_time: 0 }));
      }
      const isCommand = (call.query ?? []).some(([, value]) => value === 'BashCommand');
      return Promise.resolve(schema.parse({ items: isCommand ? [command] : [] }));
    },
  };
}

describe('A command without a result', () => {
  beforeEach(() => vi.useFakeTimers({ now: STARTED + 10_000 }));
  afterEach(() => vi.useRealTimers());

  it.each([
    ['runs', 'its server answers at once', 2_000, [5], 'known', 1],
    ['runs', 'the first answer takes as long as importing the tools', 2_000, [8_000, 20], 'known', 2],
    ['runs', 'every answer takes long', 2_000, [8_000, 8_000, 8_000, 8_000], 'known', 3],
    ['died with an earlier server', 'this one answers at once', -5_000, [5], 'lost', 1],
    [
      'died with an earlier server',
      'the first answer of this one takes long',
      -5_000,
      [8_000, 20],
      'lost',
      2,
    ],
  ] as const)(
    '%s, and is taken for that, when %s',
    async (_what, _when, commandAt, answers, state, asked) => {
      const server = serverWith(commandAt, [...answers]);
      expect((await commandLog(server).find(': mark'))?.state).toBe(state);
      expect(server.asked()).toBe(asked);
    },
  );
});
