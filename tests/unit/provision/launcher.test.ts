import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOMS } from '../../../scripts/rooms.mjs';

const project = join(import.meta.dirname, '../../..');

let root: string;
let bin: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'callboard-launcher-')));
  bin = join(root, 'fake-bin');
  mkdirSync(bin);
  for (const room of ROOMS) mkdirSync(join(root, room));
  mkdirSync(join(root, 'scripts'));
  copyFileSync(join(project, 'callboard'), join(root, 'callboard'));
  copyFileSync(join(project, 'scripts/check-install.mjs'), join(root, 'scripts/check-install.mjs'));
  for (const file of ['package.json', 'tsconfig.json']) write(file, '{}');
  for (const script of ['build-files', 'rooms', 'program-bundle', 'workflow-bundle'])
    write(`scripts/${script}.mjs`, '');
  write('package-lock.json', lock('1.0.0'));
  write('cli/main.ts', '');
  // Stands in for the build: its product says what it was given.
  write(
    'scripts/build.mjs',
    `import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
     appendFileSync('calls', 'build\\n');
     mkdirSync('dist/cli', { recursive: true });
     writeFileSync('dist/cli/main.js', 'console.log("ran " + process.argv.slice(2).join(" "))');
     writeFileSync('dist/.callboard-built', '');`,
  );
  // Stands in for npm: it keeps the same record of what it installed.
  program(
    'npm',
    'sleep 0.2; echo "npm $*" >>calls; mkdir -p node_modules/left-pad; cp package-lock.json node_modules/.package-lock.json',
  );
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, content: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}
function program(name: string, body: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bin, name), 0o755);
}
const lock = (version: string) =>
  JSON.stringify({ packages: { '': {}, 'node_modules/left-pad': { version } } });
const calls = () => (existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8') : '');
const env = (path = `${bin}:${process.env['PATH'] ?? ''}`) => ({ PATH: path, HOME: root });
const run = (args: string[] = ['--help'], path?: string) =>
  spawnSync(join(root, 'callboard'), args, { cwd: '/', env: env(path), encoding: 'utf8' });

const INSTALL = 'npm ci --include=dev --no-audit --no-fund --loglevel=error\n';

describe('the launcher', () => {
  it('installs and builds the first time, says so, and then runs', () => {
    const first = run(['up', '--config', 'my file']);
    expect(first.stdout).toBe('ran up --config my file\n');
    expect(first.stderr).toMatch(/installing packages[^]*✓ installing packages[^]*✓ building \(\d+ s\)/);
    expect(calls()).toBe(`${INSTALL}build\n`);
  });

  it('only runs when nothing changed', () => {
    run();
    const before = calls();
    const second = run();
    expect(second).toMatchObject({ status: 0, stdout: 'ran --help\n', stderr: '' });
    expect(calls()).toBe(before);
  });

  it.each([
    ['a source is newer', () => write('api/new.ts', ''), 'build\n'],
    ['a source was removed', () => rmSync(join(root, 'cli/main.ts')), 'build\n'],
    ['the lock file changed', () => write('package-lock.json', lock('2.0.0')), `${INSTALL}build\n`],
    [
      'the packages are gone',
      () => rmSync(join(root, 'node_modules'), { recursive: true }),
      `${INSTALL}build\n`,
    ],
  ])('does what is needed again when %s', (_, change, expected) => {
    run();
    const before = calls();
    change();
    run();
    expect(calls()).toBe(before + expected);
  });

  it('does not install again what somebody installed by hand', () => {
    run();
    rmSync(join(root, 'node_modules/.callboard-installed'));
    rmSync(join(root, 'calls'));
    run();
    expect(calls()).toBe('build\n');
  });

  it('installs and builds once when two are started at the same time', async () => {
    const both = [1, 2].map(() => spawn(join(root, 'callboard'), ['--help'], { env: env() }));
    expect(await Promise.all(both.map((child) => once(child, 'exit')))).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(calls()).toBe(`${INSTALL}build\n`);
  });

  it('can be called by a link from anywhere', () => {
    symlinkSync(join(root, 'callboard'), join(bin, 'callboard'));
    const linked = spawnSync(join(bin, 'callboard'), ['--version'], {
      cwd: '/',
      env: env(),
      encoding: 'utf8',
    });
    expect(linked.stdout).toBe('ran --version\n');
  });

  it('runs the tests by their own script', () => {
    write('scripts/test.mjs', 'console.log("tests " + process.argv.slice(2).join(" "))');
    expect(run(['test', 'tests/unit']).stdout).toBe('tests tests/unit\n');
  });

  it('says what to do when npm or the build fails', () => {
    program('npm', 'echo "no network" >&2; exit 1');
    const failed = run();
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(
      /no network[^]*callboard: npm ci did not work: read what it says above, and try again\.\n$/,
    );

    program('npm', 'mkdir -p node_modules; cp package-lock.json node_modules/.package-lock.json');
    write('scripts/build.mjs', 'process.exit(2)');
    expect(run().stderr).toMatch(/callboard: the build failed: read what it says above, and try again\.\n$/);
  });

  it('says in one sentence which Node.js it needs', () => {
    program('node', 'echo 18.19.1');
    expect(run()).toMatchObject({
      status: 1,
      stderr:
        'callboard: Callboard needs Node.js 20.12.0 or newer, and this is 18.19.1: install a newer one from https://nodejs.org and try again.\n',
    });
    rmSync(join(bin, 'node'));
    for (const tool of ['bash', 'dirname', 'readlink']) {
      const [directory] = ['/usr/bin', '/bin'].filter((dir) => existsSync(join(dir, tool)));
      symlinkSync(join(directory!, tool), join(bin, tool));
    }
    expect(
      spawnSync('/bin/bash', [join(root, 'callboard')], { env: env(bin), encoding: 'utf8' }).stderr,
    ).toBe(
      'callboard: Callboard needs Node.js 20.12.0 or newer, and there is none on PATH: install it from https://nodejs.org and try again.\n',
    );
  });
});
