/** The installation under test: two APIs and two workers on a PostgreSQL and a Temporal of their own. */
import { existsSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pickPort } from '../../cli/embedded/ports.js';
import { startEmbeddedPostgres } from '../../cli/embedded/postgres.js';
import { startEmbeddedTemporal } from '../../cli/embedded/temporal.js';
import { migrateDatabase } from '../../db/migrate.js';
import { buildLightAgentServer } from '../support/light-agent-server.js';
import { markedProcesses } from './agent-processes.js';
import { engineMember, processMember, runToEnd, signal, type Member } from './members.js';
import { REAL_PREFIX } from './plan.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface ClusterOptions {
  hosts: 1 | 2;
  /** Path of the Temporal CLI. */
  temporalCli: string;
  /** Command of the real agent-server; null: there is none. */
  realAgentServer: string | null;
  /** Every sandbox gets the real one, as it is. */
  forked?: boolean;
  /** For real starts: where their model is, and whatever else API and workers are to know. */
  env: Record<string, string>;
  note: (line: string) => void;
}

export interface Cluster {
  directory: string;
  /** What light agent-servers note down. */
  ledgerDirectory: string;
  hostDirectories: string[];
  databaseUrl: string;
  temporalAddress: string;
  /** Base URLs of the APIs, in the order of `apis`. */
  urls: string[];
  apis: Member[];
  workers: Member[];
  temporal: Member;
  postgres: Member;
  /** PID of the postmaster, null while it is down. */
  postmaster(): number | null;
  members(): Member[];
  /** Runs a `callboard` command on this installation; its exit code and what it prints. */
  run(argv: readonly string[]): Promise<{ code: number | null; output: string }>;
  /** Thaws everything and waits until all parts answer. */
  heal(limitMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** The real agent-server itself, or one that tells by the sandbox's id whether it is to be that. */
function agentServerCommand({ forked, realAgentServer: real }: ClusterOptions, directory: string): string {
  if (forked && real !== null) return real;
  return buildLightAgentServer(
    directory,
    real === null ? undefined : { command: real, realPrefix: REAL_PREFIX },
  );
}

/** Far from the ports of a Callboard that may run beside. */
const PORTS = [
  { first: 14_000, last: 15_999 },
  { first: 16_000, last: 17_999 },
] as const;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  if (!existsSync(MAIN)) throw new Error('dist/ is missing: run npm run build');
  const directory = mkdtempSync(join(tmpdir(), 'callboard-chaos-'));
  const ledgerDirectory = join(directory, 'ledger');
  const logs = join(directory, 'logs');
  for (const path of [ledgerDirectory, logs]) mkdirSync(path, { recursive: true });
  const { note } = options;

  const [postgres, temporal] = await Promise.all([
    engineMember('PostgreSQL', () => startEmbeddedPostgres({ dataDir: directory, log: note }), note),
    engineMember(
      'Temporal',
      () =>
        startEmbeddedTemporal({
          cli: options.temporalCli,
          dataDir: directory,
          log: note,
          ports: { frontend: 0, ui: 0 },
        }),
      note,
    ),
  ]);
  await migrateDatabase(postgres.engine.url);

  const ports = [await pickPort(), await pickPort()];
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const command = agentServerCommand(options, directory);
  const hostDirectories = Array.from({ length: options.hosts }, (_, host) =>
    join(directory, `host-${host + 1}`),
  );
  const common = {
    OH_PERSISTENCE_DIR: directory,
    DATABASE_URL: postgres.engine.url,
    TEMPORAL_ADDRESS: temporal.engine.address,
    AGENT_SERVER_COMMAND: command,
    OH_AGENT_SERVER_ENV: JSON.stringify({
      LIGHT_LEDGER_DIRECTORY: ledgerDirectory,
      LIGHT_BOOT_MS: '300',
      LIGHT_LATENCY_MS: '60',
      LIGHT_STEPS: '3',
      LIGHT_STEP_MS: '150',
    }),
    LOG_JSON: '1',
    // The git server of the run has no API.
    CALLBOARD_GIT_VERIFY_TOKENS: 'false',
    ...options.env,
  };
  const apis = await Promise.all(
    ports.map((port, index) =>
      processMember(
        `api-${index + 1}`,
        {
          argv: [MAIN, 'api'],
          env: { ...common, PORT: String(port) },
          logFile: join(logs, `api-${index + 1}.log`),
        },
        note,
      ),
    ),
  );
  const workers = await Promise.all(
    urls.map((url, index) => {
      const host = index % options.hosts;
      const { first, last } = PORTS[host] ?? PORTS[0];
      return processMember(
        `worker-${index + 1}`,
        {
          argv: [MAIN, 'worker'],
          env: {
            ...common,
            // Agent-servers post to the API that their worker names: both APIs get webhooks.
            CALLBOARD_INTERNAL_URL: url,
            CALLBOARD_HOST_DIR: hostDirectories[host] ?? directory,
            CALLBOARD_PORT_RANGE: `${first}-${last}`,
          },
          logFile: join(logs, `worker-${index + 1}.log`),
        },
        note,
      );
    }),
  );
  const cluster: Cluster = {
    directory,
    ledgerDirectory,
    hostDirectories,
    databaseUrl: postgres.engine.url,
    temporalAddress: temporal.engine.address,
    urls,
    apis,
    workers,
    temporal: temporal.member,
    postgres: postgres.member,
    postmaster: () => postgres.member.pid,
    members: () => [postgres.member, temporal.member, ...apis, ...workers],
    run: (argv) =>
      runToEnd([MAIN, ...argv], { ...common, CALLBOARD_HOST_DIR: hostDirectories[0] ?? directory }),
    async heal(limitMs) {
      for (const member of cluster.members()) member.thaw();
      await Promise.all(urls.map((url) => ready(url, limitMs)));
    },
    async stop() {
      await Promise.all([...apis, ...workers].map((member) => member.stop()));
      await temporal.member.stop();
      await postgres.member.stop();
      process.off('exit', endNow);
    },
  };
  // A run that is interrupted leaves nothing behind.
  const endNow = (): void => {
    for (const member of cluster.members()) member.endNow();
    for (const { pid } of markedProcesses(hostDirectories)) signal(pid, 'SIGKILL');
  };
  process.once('exit', endNow);
  try {
    await cluster.heal(60_000);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

/** Waits until an API says that everything behind it answers. */
async function ready(url: string, limitMs: number): Promise<void> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const last = await refusalOf(url);
    if (last === null) return;
    if (Date.now() > deadline) throw new Error(`${url} was not ready within ${limitMs / 1000} s: ${last}`);
    await sleep(100);
  }
}

/** Why it is not ready; null when it is. */
async function refusalOf(url: string): Promise<string | null> {
  try {
    const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(5_000) });
    return response.ok ? null : await response.text();
  } catch (error) {
    return String(error);
  }
}
