import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureTemporalCli, type TemporalCliOptions } from '../../../cli/provision/temporal-cli.js';
import { UserError } from '../../../cli/user-error.js';
import { listen, originOf } from '../../support/loopback.js';

const TARGET = `${platform()}_${arch() === 'x64' ? 'amd64' : arch()}`;
const VERSION_LINE = 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)';

let dir: string;
let server: Server | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'callboard-cli-'));
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(dir, { recursive: true, force: true });
});

function program(path: string, body: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** An archive like the official one, with a program that answers `--version`. */
function archive(): Buffer {
  program(join(dir, 'pack', 'temporal'), `echo '${VERSION_LINE}'`);
  execFileSync('tar', ['-czf', join(dir, 'archive.tar.gz'), '-C', join(dir, 'pack'), 'temporal']);
  return readFileSync(join(dir, 'archive.tar.gz'));
}

async function downloadSite(answer: RequestListener): Promise<string> {
  const started = createServer(answer);
  server = started;
  await listen(started);
  return `${originOf(started)}/releases/download`;
}

function options(more: Partial<TemporalCliOptions> = {}): TemporalCliOptions & { notes: string[] } {
  const notes: string[] = [];
  return {
    notes,
    note: (detail) => notes.push(detail),
    env: { PATH: '/usr/bin:/bin', HOME: dir, XDG_CACHE_HOME: join(dir, 'cache') },
    goCommand: join(dir, 'no-go'),
    connectTimeoutMs: 500,
    ...more,
  };
}

const cacheDir = () => join(dir, 'cache', 'callboard', 'temporal-cli', '1.5.1');
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('looking for the Temporal CLI', () => {
  it('takes the program named in TEMPORAL_CLI', async () => {
    const own = program(join(dir, 'own', 'temporal'), 'echo anything');
    const opts = options();
    expect(await ensureTemporalCli({ ...opts, env: { ...opts.env, TEMPORAL_CLI: own } })).toBe(own);
  });

  it('says in one sentence that the program named in TEMPORAL_CLI does not run', async () => {
    const opts = options();
    const env = { ...opts.env, TEMPORAL_CLI: join(dir, 'nowhere') };
    const failure: unknown = await ensureTemporalCli({ ...opts, env }).catch((err: unknown) => err);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toMatch(
      /TEMPORAL_CLI is .*nowhere, which does not run .*ENOENT.*unset it/,
    );
  });

  it('takes the one on PATH when it runs and its server is new enough', async () => {
    const onPath = program(join(dir, 'bin', 'temporal'), `echo '${VERSION_LINE}'`);
    const opts = options();
    expect(await ensureTemporalCli({ ...opts, env: { ...opts.env, PATH: join(dir, 'bin') } })).toBe(onPath);
  });

  it('passes by programs on PATH that are broken or too old', async () => {
    program(join(dir, 'broken', 'temporal'), 'exit 3');
    program(join(dir, 'old', 'temporal'), "echo 'temporal version 1.0.0 (Server 1.24.2, UI 2.27.3)'");
    const cached = program(join(cacheDir(), 'temporal'), `echo '${VERSION_LINE}'`);
    const opts = options();
    const path = `${join(dir, 'broken')}:${join(dir, 'old')}:/usr/bin:/bin`;
    expect(await ensureTemporalCli({ ...opts, env: { ...opts.env, PATH: path } })).toBe(cached);
    expect(opts.notes.join()).toMatch(
      /broken\/temporal does not run.*old\/temporal is older than server 1\.28/,
    );
  });

  it('uses ~/.cache when XDG_CACHE_HOME is not set', async () => {
    const cached = program(
      join(dir, '.cache/callboard/temporal-cli/1.5.1/temporal'),
      `echo '${VERSION_LINE}'`,
    );
    expect(await ensureTemporalCli(options({ env: { PATH: '/usr/bin:/bin', HOME: dir } }))).toBe(cached);
  });
});

describe('installing the Temporal CLI', () => {
  it('downloads the official archive, checks its hash and keeps the program', async () => {
    const bytes = archive();
    const asked: string[] = [];
    const downloadBase = await downloadSite((req, res) => {
      asked.push(req.url ?? '');
      res.setHeader('content-length', bytes.length).end(bytes);
    });
    const opts = options({ downloadBase, sha256: { [TARGET]: sha256(bytes) } });

    const path = await ensureTemporalCli(opts);

    expect(path).toBe(join(cacheDir(), 'temporal'));
    expect(execFileSync(path, ['--version']).toString().trim()).toBe(VERSION_LINE);
    expect(asked).toEqual([`/releases/download/v1.5.1/temporal_cli_1.5.1_${TARGET}.tar.gz`]);
    expect(readdirSync(cacheDir())).toEqual(['temporal']);
    expect(await ensureTemporalCli(opts)).toBe(path);
    expect(asked).toHaveLength(1);
  });

  it('follows the redirect of the download site', async () => {
    const bytes = archive();
    const downloadBase = await downloadSite((req, res) => {
      if (req.url === '/asset') res.end(bytes);
      else res.writeHead(302, { location: '/asset' }).end();
    });
    const path = await ensureTemporalCli(options({ downloadBase, sha256: { [TARGET]: sha256(bytes) } }));
    expect(existsSync(path)).toBe(true);
  });

  it('downloads once when two processes ask at the same time', async () => {
    const bytes = archive();
    let downloads = 0;
    const downloadBase = await downloadSite((_req, res) => {
      downloads++;
      res.end(bytes);
    });
    const opts = options({ downloadBase, sha256: { [TARGET]: sha256(bytes) } });
    const paths = await Promise.all([ensureTemporalCli(opts), ensureTemporalCli(opts)]);
    expect(new Set(paths).size).toBe(1);
    expect(downloads).toBe(1);
  });

  it('refuses an archive with another hash, installs nothing and does not look further', async () => {
    const go = program(join(dir, 'go'), `[ "$1" = version ] || touch '${join(dir, 'go-was-asked')}'`);
    const bytes = archive();
    const downloadBase = await downloadSite((_req, res) => res.end(bytes));
    const failure: unknown = await ensureTemporalCli(options({ downloadBase, goCommand: go })).catch(
      (err: unknown) => err,
    );
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toContain(sha256(bytes));
    expect((failure as UserError).message).toContain('nothing was installed');
    expect(readdirSync(cacheDir())).toEqual([]);
    expect(existsSync(join(dir, 'go-was-asked'))).toBe(false);
  });

  it('builds it with Go when the download site has no such file', async () => {
    const go = program(
      join(dir, 'go'),
      `[ "$1" = version ] && exit 0
       [ "$CGO_ENABLED" = 0 ] || exit 4
       case "$*" in *github.com/temporalio/cli/cmd/temporal@v1.5.1) ;; *) exit 5 ;; esac
       echo 'go: downloading something' >&2
       printf '#!/bin/sh\\necho built\\n' > "$GOBIN/temporal"; chmod +x "$GOBIN/temporal"`,
    );
    const downloadBase = await downloadSite((_req, res) => res.writeHead(404).end());
    const opts = options({ downloadBase, goCommand: go });
    const path = await ensureTemporalCli(opts);
    expect(execFileSync(path).toString()).toBe('built\n');
    expect(opts.notes).toContain('building with Go: go: downloading something');
    expect(readdirSync(cacheDir())).toEqual(['temporal']);
  });

  it('gives up on a download site that does not answer within its patience', async () => {
    const downloadBase = await downloadSite(() => undefined);
    const failure: unknown = await ensureTemporalCli(options({ downloadBase })).catch((err: unknown) => err);
    expect((failure as UserError).message).toMatch(/no answer within 0\.5 s/);
  });

  it('names everything it tried, and the way out, when nothing works', async () => {
    const go = program(
      join(dir, 'go'),
      '[ "$1" = version ] && exit 0; echo "module lookup disabled" >&2; exit 1',
    );
    const downloadBase = 'http://127.0.0.1:1/releases/download';
    const failure: unknown = await ensureTemporalCli(options({ downloadBase, goCommand: go })).catch(
      (err: unknown) => err,
    );
    expect(failure).toBeInstanceOf(UserError);
    const { message } = failure as UserError;
    expect(message).toMatch(/the download from 127\.0\.0\.1:1 failed \(.+\)/);
    expect(message).toContain('building it with Go failed (module lookup disabled)');
    expect(message).toContain('set TEMPORAL_CLI to its path');
    expect(readdirSync(cacheDir())).toEqual([]);
  });
});
