import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endProcess, identifyProcess, isAlive } from '../../../cli/embedded/process-identity.js';
import { LockHeldError, acquireProcessLock, withProcessLock } from '../../../cli/embedded/process-lock.js';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'callboard-lock-'));
  path = join(dir, 'lock');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('a process lock', () => {
  it('is refused while its holder lives, and names the holder', () => {
    acquireProcessLock(path, { url: 'http://127.0.0.1:3000' });
    const failure = (() => {
      try {
        return acquireProcessLock(path);
      } catch (err) {
        return err;
      }
    })();
    expect(failure).toBeInstanceOf(LockHeldError);
    expect((failure as LockHeldError).holder).toMatchObject({
      pid: process.pid,
      info: { url: 'http://127.0.0.1:3000' },
    });
  });

  it('can be taken again after it was released', () => {
    acquireProcessLock(path).release();
    acquireProcessLock(path).release();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('is taken over from a process that was killed', async () => {
    const child = spawn('sleep', ['60']);
    const identity = identifyProcess(child.pid!)!;
    writeFileSync(path, JSON.stringify({ ...identity, info: {} }));
    expect(() => acquireProcessLock(path)).toThrow(LockHeldError);
    child.kill('SIGKILL');
    await once(child, 'exit');
    acquireProcessLock(path);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
  });

  it('is taken over when another process has the holder’s number by now', () => {
    writeFileSync(path, JSON.stringify({ pid: process.ppid, startedAt: 'an earlier boot:1', info: {} }));
    acquireProcessLock(path);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
  });

  it('is taken over when its file was cut off', () => {
    writeFileSync(path, '{"pid":12');
    acquireProcessLock(path);
    expect(readdirSync(dir)).toEqual(['lock']);
  });

  it('lets one after the other do its work', async () => {
    const order: string[] = [];
    let waited = 0;
    const work = (name: string) =>
      withProcessLock(
        path,
        () => waited++,
        async () => {
          order.push(`${name} begins`);
          await new Promise((resolve) => setImmediate(resolve));
          order.push(`${name} ends`);
        },
      );
    await Promise.all([work('a'), work('b')]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
    expect(waited).toBe(1);
  });
});

describe('the identity of a process', () => {
  it('is the same for the same life and ends with it', async () => {
    const child = spawn('sleep', ['60']);
    const identity = identifyProcess(child.pid!)!;
    expect(identifyProcess(child.pid!)).toEqual(identity);
    expect(isAlive(identity)).toBe(true);
    expect(isAlive({ ...identity, startedAt: `${identity.startedAt}0` })).toBe(false);
    await endProcess(identity, ['SIGTERM'], 5_000);
    expect(isAlive(identity)).toBe(false);
  });

  it('is killed when it does not listen to signals that ask', async () => {
    const child = spawn('bash', ['-c', 'trap "" TERM; echo ready; while :; do read -t 1 < /dev/zero; done'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    const exit = once(child, 'exit');
    await endProcess(identifyProcess(child.pid!)!, ['SIGTERM'], 300);
    expect(await exit).toEqual([null, 'SIGKILL']);
  });
});
