import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../cli/embedded/postgres.js';
import { startEmbeddedTemporal } from '../../cli/embedded/temporal.js';
import { ensureAgentServer } from '../../cli/provision/agent-server.js';
import { ensureTemporalCli } from '../../cli/provision/temporal-cli.js';
import { PINNED_AGENT_SERVER } from '../../config/schema.js';
import { migrateDatabase } from '../../db/migrate.js';

/** Database that every test database is copied from. */
export const TEMPLATE_DATABASE = 'callboard_template';

/**
 * Starts what tests need, once per run: a real PostgreSQL with a migrated template database, a real Temporal server,
 * and the real agent-server's command. Addresses reach the tests through the environment.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'callboard-tests-'));
  const log = (message: string) => process.stderr.write(`[tests] ${message}\n`);
  const cli = await ensureTemporalCli({ env: process.env, note: log });
  const [postgres, temporal, agentServer] = await Promise.all([
    startEmbeddedPostgres({ dataDir: directory, log }),
    startEmbeddedTemporal({ cli, dataDir: directory, log }),
    ensureAgentServer({
      env: process.env,
      version: PINNED_AGENT_SERVER,
      command: process.env['AGENT_SERVER_COMMAND']?.split(' ') ?? null,
      note: log,
    }),
  ]);
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query(`create database ${TEMPLATE_DATABASE}`);
  await admin.end();
  const template = new URL(postgres.url);
  template.pathname = `/${TEMPLATE_DATABASE}`;
  await migrateDatabase(template.toString());
  process.env['TEST_DATABASE_URL'] = postgres.url;
  process.env['TEST_TEMPORAL_ADDRESS'] = temporal.address;
  process.env['TEST_TEMPORAL_CLI'] = cli;
  // Where the engines keep their files and logs.
  process.env['TEST_ENGINES_DIRECTORY'] = directory;
  process.env['AGENT_SERVER_COMMAND'] = agentServer.join(' ');
  return async () => {
    await temporal.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  };
}
