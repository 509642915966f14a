/** A git host: bare repositories made from given files, served over HTTP by `git http-backend`. */
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { listen, originOf, stop } from './loopback.js';

const run = promisify(execFile);

export interface GitRepositoryFiles {
  /** Contents by path; a `.sh` file is made executable. */
  files: Record<string, string>;
  /** Further branches: their files are added to those of the default branch. */
  branches?: Record<string, Record<string, string>>;
  /** Number of commits on the default branch; 1 if left out. */
  commits?: number;
}

export interface GitServerOptions {
  /** Asked for as a basic-auth password; everybody may read if left out. */
  token?: string;
  /** Sends everybody to another origin. */
  redirectTo?: string;
}

/** A request as it came in: method, path, and whether it carried credentials. */
export interface GitServerRequest {
  method: string;
  path: string;
  authorization: string | undefined;
}

export interface GitServer {
  /** `http://127.0.0.1:<port>`: scheme, host and port, as users enter a host. */
  origin: string;
  requests: readonly GitServerRequest[];
  /** Makes `<owner>/<name>.git`; the default branch is `main`. */
  addRepository(fullName: string, contents: GitRepositoryFiles): Promise<void>;
  /** What the next requests are answered with before git is asked; null answers them again. */
  failWith(status: number | null, times?: number): void;
  /** Holds all requests until `release`. */
  hold(): void;
  release(): void;
  close(): Promise<void>;
}

const AUTHOR = ['-c', 'user.name=Test Author', '-c', 'user.email=author@example.com'];

export async function startGitServer({ token, redirectTo }: GitServerOptions = {}): Promise<GitServer> {
  const root = await mkdtemp(join(tmpdir(), 'callboard-git-'));
  const requests: GitServerRequest[] = [];
  let failure: { status: number; times: number } | null = null;
  let gate = Promise.resolve();
  let open: () => void = () => undefined;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    requests.push({ method: request.method ?? '', path, authorization: request.headers.authorization });
    await gate;
    if (failure && failure.times > 0) {
      failure.times -= 1;
      response.writeHead(failure.status).end();
      return;
    }
    if (token !== undefined && passwordOf(request.headers.authorization) !== token) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    if (redirectTo !== undefined) {
      response.writeHead(302, { location: `${redirectTo}${path}` }).end();
      return;
    }
    await serve(root, path, request, response);
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end(String(error));
    });
  });
  await listen(server);

  return {
    origin: originOf(server),
    requests,
    addRepository: (fullName, contents) => makeRepository(root, fullName, contents),
    failWith: (status, times = Infinity) => {
      failure = status === null ? null : { status, times };
    },
    hold: () => {
      gate = new Promise((resolve) => {
        open = resolve;
      });
    },
    release: () => open(),
    close: async () => {
      open();
      await stop(server);
      await rm(root, { recursive: true, force: true });
    },
  };
}

function passwordOf(authorization: string | undefined): string | null {
  const [scheme, value] = authorization?.split(' ') ?? [];
  if (scheme !== 'Basic' || value === undefined) return null;
  const text = Buffer.from(value, 'base64').toString('utf8');
  return text.slice(text.indexOf(':') + 1);
}

/** One request through git's own CGI program. */
async function serve(
  root: string,
  url: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const backend = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      // The repositories belong to whoever runs the test.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      REQUEST_METHOD: request.method,
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: searchParams.toString(),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: 'git',
    },
  });
  request.pipe(backend.stdin);
  const parts: Buffer[] = [];
  for await (const part of backend.stdout) parts.push(part as Buffer);
  const output = Buffer.concat(parts);
  const end = output.indexOf('\r\n\r\n');
  const headers = output.subarray(0, end).toString('latin1').split('\r\n');
  const fields = headers.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const status = Number.parseInt(fields.find(([name]) => name === 'status')?.[1] ?? '200', 10);
  response.writeHead(status, Object.fromEntries(fields.filter(([name]) => name !== 'status')));
  response.end(output.subarray(end + 4));
}

async function makeRepository(
  root: string,
  fullName: string,
  { files, branches = {}, commits = 1 }: GitRepositoryFiles,
): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'callboard-git-work-'));
  const git = (...args: string[]) => run('git', ['-C', work, ...AUTHOR, ...args]);
  const commit = async (message: string) => {
    await git('add', '--all');
    await git('commit', '--quiet', '--allow-empty', '--message', message);
  };
  await git('init', '--quiet', '--initial-branch', 'main');
  for (let number = 1; number < commits; number++) await commit(`Commit ${number}`);
  await writeFiles(work, files);
  await commit('Add the files');
  for (const [branch, added] of Object.entries(branches)) {
    await git('checkout', '--quiet', '-b', branch, 'main');
    await writeFiles(work, added);
    await commit(`Begin ${branch}`);
  }
  await git('checkout', '--quiet', 'main');
  const bare = join(root, `${fullName}.git`);
  await mkdir(dirname(bare), { recursive: true });
  await run('git', ['clone', '--quiet', '--bare', work, bare]);
  await rm(work, { recursive: true, force: true });
}

async function writeFiles(directory: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { mode: path.endsWith('.sh') ? 0o755 : 0o644 });
  }
}
