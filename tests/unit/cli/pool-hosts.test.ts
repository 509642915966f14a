import { describe, expect, it } from 'vitest';
import { hostLines } from '../../../cli/pool-hosts.js';
import type { KnownHost } from '../../../db/hosts.js';
import type { WarmSandbox } from '../../../db/warm-sandboxes.js';

const MB = 1024 ** 2;
const SEEN = new Date('2026-11-22T12:00:00Z');
const host = (values: Partial<KnownHost> = {}): KnownHost => ({
  id: 'one',
  availableMemory: 4_000 * MB,
  parallelBoots: 2,
  sandboxBytes: 220 * MB,
  seenAt: SEEN,
  isPresent: true,
  ...values,
});
const warm = (values: Partial<WarmSandbox> = {}): WarmSandbox => ({
  id: 'a',
  status: 'RUNNING',
  agentServerUrl: 'http://x',
  agentServerVersion: '1',
  hostId: 'one',
  warmSince: SEEN,
  updatedAt: new Date(SEEN.getTime() - 1),
  retired: false,
  ...values,
});
const starting = warm({ status: 'STARTING' });
const LEFT = 'left at 2026-11-22T12:00:00Z';

describe('the machines of the pool', () => {
  it.each<[string, KnownHost[], WarmSandbox[], string[]]>([
    [
      'show what they have left, and what is warm there and stays',
      [host(), host({ id: 'two' })],
      [warm(), warm(), warm({ retired: true }), warm({ hostId: 'two' })],
      [`one 2 warm 4000 MB ${LEFT}`, `two 1 warm 4000 MB ${LEFT}`],
    ],
    [
      'have no room for one more beside what is kept for others',
      [host({ availableMemory: 980 * MB })],
      [],
      [
        `one 0 warm 980 MB ${LEFT}; none is placed there: a sandbox takes 220 MB, and 768 MB are kept for others`,
      ],
    ],
    [
      'have promised theirs to those that start',
      [host({ availableMemory: 1_300 * MB, parallelBoots: 4, sandboxBytes: null })],
      [starting],
      [
        `one 1 warm 1300 MB ${LEFT}; none is placed there: a sandbox takes 400 MB, and 768 MB are kept for others, 400 MB for those that start`,
      ],
    ],
    [
      'start as many as they may at once',
      [host()],
      [starting, starting],
      [`one 2 warm 4000 MB ${LEFT}; none is placed there: as many start as may at once`],
    ],
    [
      'are silent',
      [host({ isPresent: false })],
      [warm()],
      [
        `one 1 warm 4000 MB ${LEFT}; none is placed there: its worker has said nothing for more than 30 seconds`,
      ],
    ],
    [
      'have left something behind',
      [host()],
      [warm({ hostId: 'gone' }), warm({ hostId: null })],
      [
        `one 0 warm 4000 MB ${LEFT}`,
        'gone 1 warm memory unknown; none is placed there: its worker has ended',
      ],
    ],
    ['are none', [], [], []],
  ])('%s', (_, hosts, sandboxes, lines) => {
    expect(hostLines(hosts, sandboxes).map((line) => line.replace(/ +/g, ' '))).toEqual(lines);
  });
});
