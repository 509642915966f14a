import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { delimiter, join } from 'node:path';
import { withProcessLock } from '../embedded/process-lock.js';
import { UserError, messageOf } from '../user-error.js';
import { cacheDirectory } from './cache.js';
import { download } from './download.js';
import { runProgram } from './run-program.js';

/** The release that is installed when the machine has none of its own. */
export const TEMPORAL_CLI_VERSION = '1.5.1';

/** SHA-256 of the official archives of that release. */
const ARCHIVE_SHA256: Readonly<Record<string, string>> = {
  linux_amd64: 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  linux_arm64: 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  darwin_amd64: 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  darwin_arm64: 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
};
const DOWNLOAD_BASE = 'https://github.com/temporalio/cli/releases/download';
/** Update-with-start is on by default from this server on. */
const OLDEST_SERVER = [1, 28] as const;
const GO_BUILD_TIMEOUT_MS = 30 * 60_000;

export interface TemporalCliOptions {
  env: NodeJS.ProcessEnv;
  /** Takes what is being done at the moment. */
  note: (detail: string) => void;
  /** Ends a download or build that has begun. */
  signal?: AbortSignal;
  /** For tests: another download site, other hashes, another patience, another Go. */
  downloadBase?: string;
  sha256?: Readonly<Record<string, string>>;
  connectTimeoutMs?: number;
  goCommand?: string;
}

/**
 * The path of a Temporal CLI that runs: `TEMPORAL_CLI`, `PATH`, our cache, the official archive
 * (checked by its hash), or a build by Go, in this order. Throws `UserError` when none is to be had,
 * and at once when the archive is not the one we know.
 */
export async function ensureTemporalCli(options: TemporalCliOptions): Promise<string> {
  const { env } = options;
  if (env.TEMPORAL_CLI) {
    const answer = await runProgram(env.TEMPORAL_CLI, ['--version'], { env, timeoutMs: 10_000 });
    if (answer.status === 0) return env.TEMPORAL_CLI;
    throw new UserError(
      `TEMPORAL_CLI is ${env.TEMPORAL_CLI}, which does not run (${firstLine(answer.stderr) || `status ${answer.status ?? 'none'}`}): correct it, or unset it to have the Temporal CLI installed.`,
    );
  }
  const tried: string[] = [];
  const onPath = await findOnPath(options, tried);
  if (onPath) return onPath;

  const dir = join(cacheDirectory(env), 'temporal-cli', TEMPORAL_CLI_VERSION);
  const cached = join(dir, 'temporal');
  if (await runs(cached, env)) return cached;
  mkdirSync(dir, { recursive: true });
  return withProcessLock(
    join(dir, 'lock'),
    () => options.note('another process is installing it'),
    async () => {
      if (await runs(cached, env)) return cached;
      for (const name of readdirSync(dir)) {
        if (name.startsWith('unfinished-')) rmSync(join(dir, name), { recursive: true, force: true });
      }
      const work = mkdtempSync(join(dir, 'unfinished-'));
      try {
        const made =
          (await downloadArchive(options, work, tried)) ?? (await buildWithGo(options, work, tried));
        options.signal?.throwIfAborted();
        if (!made) throw nothingWorked(tried);
        renameSync(made, cached);
        return cached;
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    },
  );
}

async function findOnPath({ env, note }: TemporalCliOptions, tried: string[]): Promise<string | undefined> {
  for (const dir of (env.PATH ?? '').split(delimiter)) {
    const candidate = join(dir, 'temporal');
    if (!dir || !existsSync(candidate)) continue;
    const answer = await runProgram(candidate, ['--version'], { env, timeoutMs: 10_000 });
    const [, major, minor] = /Server (\d+)\.(\d+)/.exec(answer.stdout) ?? [];
    if (answer.status === 0 && Number(major) === OLDEST_SERVER[0] && Number(minor) >= OLDEST_SERVER[1])
      return candidate;
    const fault = answer.status === 0 ? `is older than server ${OLDEST_SERVER.join('.')}` : 'does not run';
    note(`${candidate} ${fault}`);
    tried.push(`${candidate} ${fault}`);
  }
  return undefined;
}

async function downloadArchive(
  options: TemporalCliOptions,
  work: string,
  tried: string[],
): Promise<string | undefined> {
  const target = `${platform()}_${arch() === 'x64' ? 'amd64' : arch()}`;
  const expected = (options.sha256 ?? ARCHIVE_SHA256)[target];
  if (!expected) {
    tried.push(`there is no release for ${target}`);
    return undefined;
  }
  const archive = join(work, 'archive.tar.gz');
  const url = `${options.downloadBase ?? DOWNLOAD_BASE}/v${TEMPORAL_CLI_VERSION}/temporal_cli_${TEMPORAL_CLI_VERSION}_${target}.tar.gz`;
  options.note('downloading');
  let found: string;
  try {
    found = await download(url, archive, {
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      stallTimeoutMs: 20_000,
      signal: options.signal,
      onProgress: (received, total) => options.note(`downloading ${progressText(received, total)}`),
    });
  } catch (err) {
    tried.push(`the download from ${new URL(url).host} failed (${messageOf(err)})`);
    return undefined;
  }
  if (found !== expected) {
    throw new UserError(
      `The Temporal CLI downloaded from ${url} is not the one that was released (SHA-256 ${found}, expected ${expected}): nothing was installed; look for who changes your downloads, or install the CLI yourself and set TEMPORAL_CLI.`,
    );
  }
  const unpacked = await runProgram('tar', ['-xzf', archive, '-C', work, 'temporal'], { env: options.env });
  const program = join(work, 'temporal');
  if (unpacked.status === 0) {
    chmodSync(program, 0o755);
    if (await runs(program, options.env)) return program;
  }
  tried.push(`the downloaded program does not run here (${firstLine(unpacked.stderr) || 'wrong machine'})`);
  return undefined;
}

async function buildWithGo(
  options: TemporalCliOptions,
  work: string,
  tried: string[],
): Promise<string | undefined> {
  const { env, note } = options;
  const candidates = options.goCommand ? [options.goCommand] : ['go', '/usr/local/go/bin/go'];
  let go: string | undefined;
  for (const candidate of candidates) {
    if (!go && (await runProgram(candidate, ['version'], { env, timeoutMs: 10_000 })).status === 0)
      go = candidate;
  }
  if (!go) {
    tried.push('there is no Go to build it with');
    return undefined;
  }
  note('building with Go, which takes some minutes');
  const built = await runProgram(
    go,
    [
      'install',
      '-v', // names each package that it compiles: most of the time goes there
      '-trimpath',
      '-ldflags=-s -w',
      `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_CLI_VERSION}`,
    ],
    {
      env: { ...env, GOBIN: work, CGO_ENABLED: '0', GOFLAGS: '' },
      timeoutMs: GO_BUILD_TIMEOUT_MS,
      signal: options.signal,
      onStderrLine: (line) => note(`building with Go: ${stepOfGo(line)}`),
    },
  );
  const program = join(work, 'temporal');
  if (built.status === 0 && (await runs(program, env))) return program;
  tried.push(`building it with Go failed (${lastLine(built.stderr) || 'no reason given'})`);
  return undefined;
}

/** `go install -v` tells of a package by its bare name when it compiles it. */
const stepOfGo = (line: string): string => (/^\S+$/.test(line) ? `compiling ${line}` : line);

async function runs(program: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  return (
    existsSync(program) && (await runProgram(program, ['--version'], { env, timeoutMs: 10_000 })).status === 0
  );
}

function nothingWorked(tried: readonly string[]): UserError {
  return new UserError(
    `The Temporal CLI is not on this machine and could not be installed (${tried.join('; ')}): install it from https://docs.temporal.io/cli and set TEMPORAL_CLI to its path, or set TEMPORAL_ADDRESS to a server that runs.`,
  );
}

function progressText(received: number, total: number | undefined): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  return total ? `${megabytes(received)} of ${megabytes(total)} MB` : `${megabytes(received)} MB`;
}

const firstLine = (text: string): string => text.trim().split('\n')[0] ?? '';
const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
