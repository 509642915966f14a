import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { describe, expect, it, vi } from 'vitest';
import { currentBootId, parseStat, readStat, statOf } from '../../../sandboxes/process-identity.js';

describe('a line of /proc/<pid>/stat', () => {
  const rest = 'S 1 77 78 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10';

  it('is read whatever the program is called', () => {
    for (const name of ['sh', 'a b', ') R 9 (', '((x)', 'ünïcode) ']) {
      expect(parseStat(`4711 (${name}) ${rest}\n`)).toEqual({
        pid: 4711,
        state: 'S',
        parent: 1,
        group: 77,
        session: 78,
        startTime: '123456',
        processorTime: 110,
      });
    }
  });

  it('is nothing when it is cut off', () => {
    expect(parseStat('')).toBeNull();
    expect(parseStat('4711 (sh) S 1 77')).toBeNull();
  });
});

describe('the identity of a process', () => {
  it('holds for that process only, in this boot only, and no longer than it lives', async () => {
    const child = spawn('sleep', ['600']);
    try {
      const pid = child.pid!;
      const bootId = await currentBootId();
      const { startTime } = (await readStat(pid))!;
      expect(await statOf({ pid, startTime, bootId })).toMatchObject({ pid, parent: process.pid });
      expect(await statOf({ pid, startTime: `${Number(startTime) + 1}`, bootId })).toBeNull();
      expect(await statOf({ pid, startTime, bootId: 'another-boot' })).toBeNull();
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      expect(await statOf({ pid, startTime, bootId })).toBeNull();
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('does not hold for a zombie', async () => {
    // The shell becomes a program that never asks how its child ended.
    const parent = spawn('sh', ['-c', 'sleep 600 & echo $!; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const [data] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(data.toString());
      await vi.waitFor(async () => {
        expect(await readFile(`/proc/${parent.pid!}/comm`, 'utf8')).toBe('sleep\n');
      }, 90_000);
      process.kill(pid, 'SIGKILL');
      await vi.waitFor(async () => expect((await readStat(pid))?.state).toBe('Z'), 90_000);
      const { startTime } = (await readStat(pid))!;
      expect(await statOf({ pid, startTime, bootId: await currentBootId() })).toBeNull();
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
