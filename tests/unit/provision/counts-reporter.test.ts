import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const project = join(import.meta.dirname, '../../..');
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'callboard-counts-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('counts what passed, what failed however it failed, and what was skipped', () => {
  const test = (name: string, body: string) => writeFileSync(join(dir, `${name}.test.js`), body);
  test(
    'mixed',
    'it("a", () => {}); it("b", () => {}); it("c", () => { throw new Error("no") }); it.skip("d", () => {})',
  );
  test('unloadable', 'throw new Error("at import")');
  test(
    'hook',
    'describe("s", () => { beforeAll(() => { throw new Error("set-up") }); it("never runs", () => {}) })',
  );
  test('outside', 'it("e", () => { Promise.reject(new Error("nobody waits for this")) })');
  const counts = join(dir, 'counts.json');

  const vitest = join(project, 'node_modules/vitest/vitest.mjs');
  const reporter = join(project, 'tests/support/counts-reporter.ts');
  const args = [vitest, 'run', '--globals', '--root', dir, '--reporter', reporter];
  // The variables of the run we are in would make this one believe that it is one of its workers.
  const { PATH, HOME } = process.env;
  const { status } = spawnSync(process.execPath, args, {
    cwd: dir,
    env: { PATH, HOME, TEST_COUNTS_FILE: counts },
  });

  expect(status).toBe(1);
  // Failed: c, the file that cannot be loaded, the hook, and the error nobody waited for.
  expect(JSON.parse(readFileSync(counts, 'utf8'))).toEqual({ passed: 3, failed: 4, skipped: 2 });
});
