/**
 * `./callboard test [arguments of vitest]`: set-up, static checks, tests. The last line counts them.
 * A static check that fails counts as a failure; a test that was skipped does too, unless arguments chose some.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const chosen = process.argv.slice(2);
let passed = 0;
let failed = 0;

/** Runs a program with our terminal; true when it ends well. */
function run(title, command, args, env = {}) {
  console.log(`\n== ${title}`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (error) console.error(error.message);
  return status === 0;
}

const ready =
  run('setup', process.execPath, ['dist/cli/main.js', 'setup']) &&
  run('setup of a Gitea server', 'bash', ['tests/support/gitea/install.sh']);
if (!ready) {
  console.error('setup failed: the tests that need the real parts would all fail, so none was run');
  failed++;
} else {
  for (const check of ['typecheck', 'lint', 'format:check', 'rooms']) {
    if (!run(check, 'npm', ['run', '--silent', check])) failed++;
  }

  const dir = mkdtempSync(join(tmpdir(), 'callboard-counts-'));
  const counts = join(dir, 'counts.json');
  const vitest = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=./tests/support/counts-reporter.ts',
  ];
  const ended = run('tests', process.execPath, [...vitest, ...chosen], { TEST_COUNTS_FILE: counts });
  const counted = existsSync(counts)
    ? JSON.parse(readFileSync(counts, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0 };
  rmSync(dir, { recursive: true, force: true });
  passed = counted.passed;
  failed += counted.failed;
  if (counted.skipped > 0 && chosen.length === 0) {
    console.error(`${counted.skipped} tests were skipped, which nobody may do`);
    failed += counted.skipped;
  }
  if (passed + counted.failed === 0) {
    console.error('no test was run');
    failed = Math.max(failed, 1);
  }
  if (!ended) failed = Math.max(failed, 1); // an error outside of all tests
}

console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
