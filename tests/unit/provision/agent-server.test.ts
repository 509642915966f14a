import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureAgentServer } from '../../../cli/provision/agent-server.js';
import { UserError } from '../../../cli/user-error.js';

const SCRIPT = join(import.meta.dirname, '../../../scripts/agent-server.sh');

/**
 * Stands in for Python: makes environments that hold itself and a uv, and knows the version of every
 * package. What it was asked is appended to $ASKED.
 */
const FAKE_PYTHON = `#!/bin/bash
echo "$(basename "$0") $*" >>"$ASKED"
case "$1 $2" in
  "--version "*) echo 'Python 3.13.9' ;;
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/uv" ;;
  "-m pip") exit 0 ;;
  "-m openhands.agent_server") echo "server $*, map \${LITELLM_LOCAL_MODEL_COST_MAP}, path \${PYTHONPATH-unset}" ;;
  "pip install") [ -z "\${UV_FAILS:-}" ] || { echo 'error: no network' >&2; exit 2; } ;;
esac
exit 0
`;

let dir: string;
let env: NodeJS.ProcessEnv;
const asked = () => (existsSync(env['ASKED']!) ? readFileSync(env['ASKED']!, 'utf8') : '');
const prefix = () => join(dir, 'cache/callboard/agent-server/9.9.9');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'callboard-agent-server-'));
  mkdirSync(join(dir, 'bin'));
  writeFileSync(join(dir, 'bin/python3.13'), FAKE_PYTHON);
  chmodSync(join(dir, 'bin/python3.13'), 0o755);
  env = {
    PATH: `${join(dir, 'bin')}:/usr/bin:/bin`,
    HOME: dir,
    XDG_CACHE_HOME: join(dir, 'cache'),
    ASKED: join(dir, 'asked'),
  };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const install = (args: string[], more: NodeJS.ProcessEnv = {}) =>
  spawnSync('bash', [SCRIPT, '--version', '9.9.9', ...args], { env: { ...env, ...more }, encoding: 'utf8' });

describe('the installer of the agent-server', () => {
  it('prints exactly one line on stdout, the command, and progress on stderr', () => {
    const result = install(['--method', 'venv']);
    expect(result.stderr).toMatch(
      /using Python 3\.13\.9[^]*installing openhands-agent-server==9\.9\.9 openhands-sdk==9\.9\.9/,
    );
    expect(result.stdout).toBe(`${prefix()}/bin/agent-server\n`);
    expect(result.status).toBe(0);
  });

  it('makes a command that passes flags on, keeps the server off the network and drops Python’s variables', () => {
    const command = install([]).stdout.trim();
    const output = execFileSync(command, ['--port', '8700'], {
      env: { ...env, PYTHONPATH: '/elsewhere' },
      encoding: 'utf8',
    });
    expect(output).toBe('server -m openhands.agent_server --port 8700, map True, path unset\n');
  });

  it('does nothing the second time', () => {
    install([]);
    const before = asked();
    const again = install([]);
    expect(again.stdout).toBe(`${prefix()}/bin/agent-server\n`);
    expect(again.stderr).toBe('');
    expect(asked()).toBe(before);
  });

  it('clears away an installation that was not finished', () => {
    mkdirSync(join(prefix(), 'venv'), { recursive: true });
    writeFileSync(join(prefix(), 'venv/half'), '');
    const result = install(['--method', 'venv']);
    expect(result.stderr).toContain('removing an installation that was not finished');
    expect(existsSync(join(prefix(), 'venv/half'))).toBe(false);
    expect(result.status).toBe(0);
  });

  it('leaves nothing behind and says what to do when no way works', () => {
    const result = install(['--method', 'venv'], { UV_FAILS: '1' });
    expect(result.status).toBe(1);
    expect(result.stdout).toBe('');
    expect(result.stderr).toMatch(
      /could not be installed \(tried venv\): install Python 3\.12 or uv and try again/,
    );
    expect(existsSync(prefix())).toBe(false);
  });

  it('hands the package index of pip’s configuration to uv', () => {
    writeFileSync(join(dir, 'pip.conf'), '[global]\nindex-url = https://packages.example/simple\n');
    writeFileSync(
      join(dir, 'bin/python3.13'),
      FAKE_PYTHON.replace('"pip install")', '"pip install") echo "index $UV_DEFAULT_INDEX" >>"$ASKED";'),
    );
    install(['--method', 'venv'], { PIP_CONFIG_FILE: join(dir, 'pip.conf') });
    expect(asked()).toContain('index https://packages.example/simple');
  });

  it('refuses arguments it does not know, and a version that is none', () => {
    expect(install(['--frobnicate']).stderr).toContain(
      'unknown argument --frobnicate; --help tells the known ones',
    );
    expect(install(['--method', 'magic']).stderr).toContain('unknown method magic');
    expect(install(['--version', '1.0; rm -rf /']).status).toBe(1);
    expect(install(['--help']).stdout).toMatch(/^Makes the OpenHands agent-server available/);
  });
});

describe('making an agent-server available', () => {
  const options = (more: object = {}) => {
    const notes: string[] = [];
    return { notes, env, version: '9.9.9', note: (detail: string) => notes.push(detail), ...more };
  };

  it('uses a configured command as it is', async () => {
    const command = ['python', '-m', 'openhands.agent_server'];
    expect(await ensureAgentServer(options({ command, script: '/nonexistent' }))).toEqual(command);
  });

  it('installs it otherwise, passing progress on', async () => {
    const opts = options();
    expect(await ensureAgentServer(opts)).toEqual([`${prefix()}/bin/agent-server`]);
    expect(opts.notes.join('\n')).toContain('using Python 3.13.9');
  });

  it('turns a failed installation into one sentence', async () => {
    const script = join(dir, 'failing.sh');
    writeFileSync(
      script,
      'echo "agent-server: venv: no Python" >&2; echo "agent-server: install Python 3.12" >&2; exit 1',
    );
    const failure: unknown = await ensureAgentServer(options({ script })).catch((err: unknown) => err);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toBe(
      'The agent-server cannot be made available: venv: no Python; install Python 3.12.',
    );
  });
});
