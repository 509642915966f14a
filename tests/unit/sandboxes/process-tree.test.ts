import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { processesOf, SANDBOX_MARK } from '../../../sandboxes/process-tree.js';

describe('a look for the processes of sandboxes', () => {
  it('shared by many begins after the last of them has asked', async () => {
    const sandboxId = randomUUID();
    const earlier = processesOf(sandboxId);
    await turn(); // its look is under way
    const child = spawn('sleep', ['60'], { env: { PATH: process.env['PATH'], [SANDBOX_MARK]: sandboxId } });
    await once(child, 'spawn');
    try {
      const looks = await Promise.all([sandboxId, 'another', sandboxId].map((id) => processesOf(id)));
      expect(looks.map((tree) => tree.map(({ pid }) => pid))).toEqual([[child.pid], [], [child.pid]]);
      await earlier;
    } finally {
      child.kill('SIGKILL');
    }
  });
});
