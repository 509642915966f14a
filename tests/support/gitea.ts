/** A Gitea server, the real one: built once, started for a test with its own database, files and people. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createEmptyDatabase } from './database.js';
import { freePort } from './loopback.js';

const run = promisify(execFile);
const INSTALL = fileURLToPath(new URL('./gitea/install.sh', import.meta.url));
const BOOT_MS = 180_000;
const PASSWORD = 'a password of the tests';

export class Gitea {
  private constructor(
    readonly url: string,
    private readonly program: (...args: string[]) => Promise<string>,
    private readonly server: ChildProcess,
    private readonly remove: () => Promise<void>,
  ) {}

  static async start(): Promise<Gitea> {
    const installed = (await run('bash', [INSTALL], { maxBuffer: 1 << 26 })).stdout.trim();
    const directory = mkdtempSync(join(tmpdir(), 'callboard-gitea-'));
    const [database, port] = await Promise.all([createEmptyDatabase('gitea'), freePort()]);
    const url = `http://127.0.0.1:${port}`;
    const config = join(directory, 'app.ini');
    writeFileSync(config, settings({ directory, installed, url, port, database: new URL(database.url) }));
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: directory,
      GITEA_WORK_DIR: directory,
      // Containers run tests as root; nothing of this server outlives the test.
      GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT: 'true',
    };
    const program = async (...args: string[]): Promise<string> =>
      (await run(join(installed, 'gitea'), ['--config', config, ...args], { env })).stdout.trim();
    await program('migrate');
    const server = spawn(join(installed, 'gitea'), ['--config', config, 'web'], { env, stdio: 'ignore' });
    const gitea = new Gitea(url, program, server, async () => {
      await database.drop();
      rmSync(directory, { recursive: true, force: true });
    });
    await gitea.#answering();
    return gitea;
  }

  /** Makes a person. @returns a token that may do all that they may */
  async addUser(name: string): Promise<string> {
    const about = ['--username', name, '--email', `${name}@tests.example`, '--password', PASSWORD];
    await this.program('admin', 'user', 'create', ...about, '--must-change-password=false');
    const scope = ['--token-name', 'tests', '--scopes', 'all', '--raw'];
    const said = await this.program('admin', 'user', 'generate-access-token', '--username', name, ...scope);
    // Before it stands a warning to those who run it as root.
    return said.split('\n').at(-1) ?? '';
  }

  /** A call of the API as somebody; throws when it is refused. */
  async call<Body>(token: string, method: string, path: string, body?: unknown): Promise<Body> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { Authorization: `token ${token}`, 'Content-Type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Body;
  }

  /** Writes a file of the main branch, or of another one that is made for it. */
  async write(token: string, repository: string, path: string, text: string, newBranch?: string) {
    const content = Buffer.from(text).toString('base64');
    await this.call(token, 'POST', `/repos/${repository}/contents/${path}`, {
      content,
      message: `Add ${path}`,
      ...(newBranch === undefined ? {} : { new_branch: newBranch }),
    });
  }

  async close(): Promise<void> {
    if (this.server.exitCode === null) {
      const exit = once(this.server, 'exit');
      this.server.kill('SIGTERM');
      await exit;
    }
    await this.remove();
  }

  async #answering(): Promise<void> {
    const deadline = Date.now() + BOOT_MS;
    while (Date.now() < deadline) {
      if (this.server.exitCode !== null) throw new Error(`Gitea ended with ${this.server.exitCode}`);
      const answer = await fetch(`${this.url}/api/healthz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error('Gitea was not ready in time');
  }
}

interface Place {
  directory: string;
  installed: string;
  url: string;
  port: number;
  database: URL;
}

const settings = ({ directory, installed, url, port, database }: Place): string => `
RUN_MODE = prod
RUN_USER = ${userInfo().username}
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = ${port}
ROOT_URL = ${url}/
STATIC_ROOT_PATH = ${installed}
APP_DATA_PATH = ${directory}/data
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = postgres
HOST = ${database.host}
NAME = ${database.pathname.slice(1)}
USER = ${decodeURIComponent(database.username)}
PASSWD = \`${decodeURIComponent(database.password)}\`
SSL_MODE = disable
[repository]
ROOT = ${directory}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = of-the-tests
PASSWORD_HASH_ALGO = pbkdf2_v2
[indexer]
ISSUE_INDEXER_TYPE = db
[queue]
TYPE = channel
[cron]
ENABLED = false
[log]
LEVEL = Error
ROOT_PATH = ${directory}/log
[api]
MAX_RESPONSE_ITEMS = 2
`;
