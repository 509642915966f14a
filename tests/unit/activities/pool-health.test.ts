import { describe, expect, it } from 'vitest';
import { createPoolHealth } from '../../../activities/pool-health.js';
import type { WarmSandbox } from '../../../db/warm-sandboxes.js';

const one = (id: string, values: Partial<WarmSandbox> = {}): WarmSandbox => ({
  id,
  status: 'RUNNING',
  agentServerUrl: `http://${id}`,
  agentServerVersion: '1',
  hostId: 'there',
  warmSince: new Date(0),
  updatedAt: new Date(0),
  retired: false,
  ...values,
});

function health() {
  const dead = new Set<string>();
  const asked: string[] = [];
  const clock = { seconds: 0 };
  const outOfReachOf = createPoolHealth(
    (url) => {
      asked.push(url);
      return Promise.resolve(!dead.has(url.slice('http://'.length)));
    },
    () => clock.seconds * 1_000,
  );
  const look = async (seconds: number, ...sandboxes: WarmSandbox[]) => {
    clock.seconds = seconds;
    return [...(await outOfReachOf(sandboxes))];
  };
  return { dead, asked, look };
}

describe('the health of what is kept warm', () => {
  it('shows those of a host that is gone after twenty seconds, at the second look', async () => {
    const { dead, look } = health();
    dead.add('a').add('b');
    expect(await look(0, one('a'), one('b'), one('c'))).toEqual([]);
    expect(await look(2, one('a'), one('b'), one('c'))).toEqual([]);
    expect(await look(60, one('a'), one('b'), one('c'))).toEqual(['a', 'b']);
    expect(await look(3_600, one('a'))).toEqual(['a']);
  });

  it('forgets a silence that has ended', async () => {
    const { dead, look } = health();
    dead.add('a');
    expect(await look(0, one('a'))).toEqual([]);
    dead.delete('a');
    expect(await look(60, one('a'))).toEqual([]);
    dead.add('a');
    expect(await look(120, one('a'))).toEqual([]);
    expect(await look(180, one('a'))).toEqual(['a']);
  });

  it('begins anew with one that was not there meanwhile', async () => {
    const { dead, look } = health();
    dead.add('a');
    expect(await look(0, one('a'))).toEqual([]);
    expect(await look(60)).toEqual([]);
    expect(await look(120, one('a'))).toEqual([]);
  });

  it('asks only those that run and may still be taken', async () => {
    const { asked, look } = health();
    await look(0, one('boots', { status: 'STARTING', agentServerUrl: null }), one('goes', { retired: true }));
    expect(asked).toEqual([]);
  });
});
