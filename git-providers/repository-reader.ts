/** Reads a few text files of a repository without checking it out: nothing of what is in it is run, or becomes a file. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { maskText } from '../contract/masking.js';
import { HostRefused, type AddressPolicy } from './address-policy.js';
import type { GitCredentials } from './clone-url.js';

/** What to read. */
export interface RepositoryQuestion {
  /** Without credentials. */
  url: string;
  credentials: GitCredentials | null;
  /** Branch, tag or commit; null for the default branch. Must not begin with `-`. */
  ref: string | null;
  /** Directories and files, relative to the root; without `..`. */
  paths: readonly string[];
}

/** The repository cannot be read; the message says why, for people, without secrets. */
export class RepositoryUnreadable extends Error {
  override readonly name = 'RepositoryUnreadable';
}

/** How long fetching may take, in milliseconds. */
const FETCH_MS = 60_000;
/** Largest pack that is fetched, in blocks of 512 bytes: 200 MiB. */
const PACK_BLOCKS = 409_600;
const MOST_FILES = 500;
const FILE_BYTES = 1024 * 1024;

/** Text files by path, symbolic links and large ones left out. */
export async function readRepository(
  question: RepositoryQuestion,
  policy: AddressPolicy,
): Promise<Map<string, string>> {
  const directory = await mkdtemp(join(tmpdir(), 'callboard-repository-'));
  try {
    const environment = await environmentFor(question, directory, policy);
    const git = (parameters: readonly string[], input?: string) =>
      runGit(['-C', directory, ...parameters], environment, input).catch((error: unknown) => {
        if (!(error instanceof RepositoryUnreadable)) throw error;
        const secrets = question.credentials ? [question.credentials.password] : [];
        throw new RepositoryUnreadable(maskText(error.message, secrets));
      });
    await git(['init', '-q', '--bare', '.']);
    await git(['fetch', '-q', '--depth', '1', '--no-tags', '--', question.url, question.ref ?? 'HEAD']);
    const tree = await git(['ls-tree', '-r', '-z', '--long', 'FETCH_HEAD', '--', ...question.paths]);
    const files = filesIn(tree.toString());
    const contents = await git(['cat-file', '--batch'], files.map(({ blob }) => `${blob}\n`).join(''));
    return new Map(textsIn(contents).map((text, place) => [files[place]?.path ?? '', text]));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Nothing of this machine's configuration counts, and no more is asked than the address that was checked. */
async function environmentFor(
  { url: text, credentials }: RepositoryQuestion,
  directory: string,
  policy: AddressPolicy,
): Promise<Record<string, string>> {
  const url = new URL(text);
  const settings: [string, string][] = [
    ['http.followRedirects', 'false'],
    ['http.lowSpeedLimit', '1000'],
    ['http.lowSpeedTime', '20'],
    ['http.curloptResolve', await resolved(url, policy)],
    ['credential.helper', ''],
    ['gc.auto', '0'],
  ];
  if (credentials) {
    const basic = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
    settings.push([`http.${url.origin}/.extraHeader`, `Authorization: Basic ${basic}`]);
  }
  return {
    PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: directory,
    LC_ALL: 'C',
    GIT_ALLOW_PROTOCOL: 'http:https',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    // In the environment and not among the arguments, which everybody on this machine can see.
    GIT_CONFIG_COUNT: String(settings.length),
    ...Object.fromEntries(
      settings.flatMap(([name, value], place) => [
        [`GIT_CONFIG_KEY_${place}`, name],
        [`GIT_CONFIG_VALUE_${place}`, value],
      ]),
    ),
  };
}

/** The address behind the name, looked up once: git goes to exactly that. */
async function resolved(url: URL, policy: AddressPolicy): Promise<string> {
  try {
    policy.check(url);
  } catch (error) {
    throw error instanceof HostRefused ? new RepositoryUnreadable(error.message) : error;
  }
  const address = await new Promise<string>((resolve, reject) => {
    policy.lookupFor(url)(url.hostname.replace(/^\[|\]$/g, ''), { all: false }, (error, found) => {
      if (error) reject(unresolved(url, error));
      else resolve(typeof found === 'string' ? found : (found[0]?.address ?? ''));
    });
  });
  const port = url.port || (url.protocol === 'http:' ? '80' : '443');
  return `${url.hostname}:${port}:${address.includes(':') ? `[${address}]` : address}`;
}

const unresolved = (url: URL, error: Error): RepositoryUnreadable =>
  new RepositoryUnreadable(
    error instanceof HostRefused ? error.message : `The name ${url.host} cannot be resolved.`,
  );

/** Runs git with a limit on time and on the size of what it writes; its group ends with it. */
function runGit(
  parameters: readonly string[],
  environment: Record<string, string>,
  input = '',
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const script = `ulimit -f ${PACK_BLOCKS}; exec git "$@"`;
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...parameters], { env: environment, detached: true });
    const output: Buffer[] = [];
    let said = '';
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, FETCH_MS);
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-4_000);
    });
    child.once('error', (error) => {
      clearTimeout(limit);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(limit);
      if (code === 0) resolve(Buffer.concat(output));
      else reject(new RepositoryUnreadable(isLate ? LATE : reasonIn(said, code)));
    });
    // It may end before it has read everything.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

const LATE = `The repository could not be fetched within ${FETCH_MS / 1000} s.`;

function reasonIn(said: string, code: number | null): string {
  if (code === 127) return 'git is not installed on this server.';
  const line = said.split('\n').findLast((one) => one.startsWith('fatal:'));
  const reason = line?.slice('fatal:'.length).trim().slice(0, 300);
  return `The repository could not be fetched: ${reason || 'git was cut off, it may be too large'}.`;
}

function filesIn(tree: string): { blob: string; path: string }[] {
  return tree
    .split('\0')
    .flatMap((line) => {
      // Regular files only: a symbolic link has another mode.
      const [, blob = '', size = '', path = ''] = /^100\d{3} blob (\w+) +(\d+)\t([\s\S]+)$/.exec(line) ?? [];
      return blob !== '' && Number(size) <= FILE_BYTES ? [{ blob, path }] : [];
    })
    .slice(0, MOST_FILES);
}

/** The contents in the output of `cat-file --batch`: a line with the size, so many bytes, a line feed. */
function textsIn(output: Buffer): string[] {
  const texts: string[] = [];
  let at = 0;
  while (at < output.length) {
    const end = output.indexOf(0x0a, at);
    const size = Number(output.toString('latin1', at, end).split(' ')[2]);
    if (end === -1 || !Number.isInteger(size)) throw new Error('git cat-file answers in an unknown form');
    texts.push(output.toString('utf8', end + 1, end + 1 + size));
    at = end + 1 + size + 1;
  }
  return texts;
}
