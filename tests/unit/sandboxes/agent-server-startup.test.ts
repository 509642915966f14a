import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startupArguments } from '../../../sandboxes/agent-server-startup.js';

const HEAD = '#!/bin/sh\n# Starts the agent-server 1.34.0.\n';
const PROGRAM = 'parser.add_argument("--import-modules")\nparser.add_argument("--extra-python-path")\n';
const IN_VENV = 'venv/lib/python3.13/site-packages/openhands/agent_server/__main__.py';

let prefix: string;
beforeEach(async () => {
  prefix = await mkdtemp(join(tmpdir(), 'callboard-startup-'));
});
afterEach(() => rm(prefix, { recursive: true, force: true }));

async function install(files: Record<string, string>): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(prefix, name)), { recursive: true });
    await writeFile(join(prefix, name), text);
  }
  return join(prefix, 'bin/agent-server');
}

describe('what an agent-server imports at its start', () => {
  it('is ours where our installer has made its command', async () => {
    const command = await install({ 'bin/agent-server': `${HEAD}exec python "$@"\n`, [IN_VENV]: PROGRAM });
    expect(await startupArguments([command], { directory: '/srv/startup' })).toEqual([
      '--extra-python-path',
      '/srv/startup',
      '--import-modules',
      'callboard_startup',
    ]);
  });

  it.each<[string, Record<string, string>, string[], string]>([
    ['a command of somebody else', { 'bin/agent-server': '#!/bin/sh\n', [IN_VENV]: PROGRAM }, [], '/srv'],
    ['a command with arguments', { 'bin/agent-server': HEAD, [IN_VENV]: PROGRAM }, ['--reload'], '/srv'],
    ['an empty command', { 'bin/agent-server': '', [IN_VENV]: PROGRAM }, [], '/srv'],
    ['an agent-server without the flags', { 'bin/agent-server': HEAD, [IN_VENV]: 'main()\n' }, [], '/srv'],
    ['an agent-server in a root of its own', { 'bin/agent-server': HEAD, 'root/opt/x': '' }, [], '/srv'],
    ['an environment without Python', { 'bin/agent-server': HEAD, 'venv/lib/x': '' }, [], '/srv'],
    ['a directory that the flag cannot name', { 'bin/agent-server': HEAD, [IN_VENV]: PROGRAM }, [], '/a:b'],
  ])('is left alone for %s', async (_, files, more, directory) => {
    expect(await startupArguments([await install(files), ...more], { directory })).toEqual([]);
  });

  it('is left alone for a command that is not there', async () => {
    expect(await startupArguments([join(prefix, 'bin/agent-server')])).toEqual([]);
  });
});
