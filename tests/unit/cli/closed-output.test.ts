import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';

const MAIN = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));

it('a command whose reader has had enough ends without a stack', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-closed-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, 'doctor'], {
    env: { PATH: process.env['PATH'], OH_PERSISTENCE_DIR: directory },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let complaints = '';
  child.stderr.on('data', (data: Buffer) => (complaints += data.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  expect(complaints).not.toContain('EPIPE');
  expect(status).toBe(0);
}, 60_000);
