/** `callboard doctor`: looks at everything, says what is wrong and what to do, and with `--repair` does it. */
import { Client } from '@temporalio/client';
import { createMaintenanceActors } from '../../activities/maintenance-actors.js';
import { createSandboxActors } from '../../activities/sandbox-actors.js';
import { createActors } from '../../api/actors.js';
import type { Config } from '../../config/config.js';
import { renderConfig, type ConfigLine } from '../../config/render.js';
import { openDatabase, type DatabaseConnection } from '../../db/database.js';
import { DoctorReadModel } from '../../db/doctor-read-model.js';
import { SandboxRelease } from '../../db/start-release.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { EventDirectoryEmpty, reindexEvents } from '../../events/reindex.js';
import { REINDEX_ACTIONS, type ReindexKind, type ReindexResult } from '../../events/reindex-findings.js';
import { encryptedData } from '../../identity/data-converter.js';
import { loadMasterKeys } from '../../identity/keys.js';
import { Vault, type MasterKey } from '../../identity/vault.js';
import { enginesAtHand } from '../engines-at-hand.js';
import { lazyConnection, temporalOptions } from '../temporal-connection.js';
import { messageOf } from '../user-error.js';
import { checkActors } from './actors.js';
import { checkDatabase, checkTemporal } from './engines.js';
import type { Finding, Report } from './finding.js';
import { someOf } from './finding.js';
import { checkMachine } from './machine.js';
import { checkPorts } from './ports.js';
import { checkSecrets } from './secrets.js';

export interface DoctorCommand {
  config: Config;
  env: NodeJS.ProcessEnv;
  repair: boolean;
  /** Told of each finding as it is made. */
  report: Report;
}

export interface Diagnosis {
  configuration: ConfigLine[];
  findings: Finding[];
  /** Whether nothing is left that somebody has to act on. */
  healthy: boolean;
}

/** Works, as far as it can, while services are down; never throws for what it finds. */
export async function diagnose({ config, env, repair, report: tell }: DoctorCommand): Promise<Diagnosis> {
  const findings: Finding[] = [];
  const report: Report = (finding) => {
    findings.push(finding);
    tell(finding);
  };
  await checkMachine(config, env, report);
  await checkPorts(config, report);
  const keys = await readKeys(config, report);
  const engines = enginesAtHand(config);
  const connection = engines.databaseUrl === null ? null : openDatabase({ url: engines.databaseUrl });
  if (!connection) {
    report({
      level: 'note',
      about: 'PostgreSQL',
      text: 'there is none yet: it is made by the first ./callboard up',
    });
  }
  const client = await temporalClient(config, engines.temporalAddress, keys, report);
  try {
    const hasRows =
      connection !== null && (await checkDatabase(connection.pool, engines.isDatabaseEmbedded, report));
    const hasActors = client !== null && (await checkTemporal(client, engines.isTemporalEmbedded, report));
    if (connection && hasRows) {
      await guarded('rows', report, () => checkRows(connection, keys, report));
      await guarded('events', report, async () => {
        const result = await checkEvents({ config, connection, repair, report });
        if (result && client && hasActors) await follow(client, result);
      });
      if (client && hasActors) {
        await guarded('actors', report, () =>
          checkActors({
            rows: new DoctorReadModel(connection.database),
            actors: createSandboxActors(client),
            client,
            starts: new StartTaskRepository(connection.database),
            release: new SandboxRelease(connection.database),
            keepSecretsOfFailed: config.maintenance.retryHours > 0,
            wake: (id) => createMaintenanceActors(client).wakeConversation(id),
            repair,
            report,
          }),
        );
      }
    }
    if (!hasRows || !hasActors) {
      report({
        level: 'note',
        about: 'not checked',
        text: hasRows ? 'rows against workflows' : 'events, rows and workflows, which need both services',
      });
    }
  } finally {
    await connection?.close();
    await client?.connection.close();
  }
  return {
    configuration: renderConfig(config),
    findings,
    healthy: findings.every(({ level, repaired }) => level !== 'problem' || repaired === true),
  };
}

/** What a look at the events found is carried on by the conversations' actors: lost events, waiting callbacks. */
export async function follow(client: Client, { toFetch, toWake }: ReindexResult): Promise<void> {
  const actors = createActors(client);
  const others = createMaintenanceActors(client);
  for (const id of toFetch) await actors.runEnded(id);
  for (const id of toWake) await others.wakeConversation(id);
}

/** Null where there is no address to connect to, or no way to. */
export async function temporalClient(
  config: Config,
  address: string | null,
  keys: readonly MasterKey[] | null,
  report: Report,
): Promise<Client | null> {
  if (address === null) {
    report({
      level: 'note',
      about: 'Temporal',
      text: 'the embedded one runs only while Callboard is up',
      todo: './callboard up, and doctor beside it, to have workflows checked',
    });
    return null;
  }
  try {
    return new Client({
      connection: lazyConnection(await temporalOptions(config, address)),
      namespace: config.temporal.namespace,
      ...(keys === null ? {} : { dataConverter: encryptedData(keys) }),
    });
  } catch (err) {
    report({
      level: 'problem',
      about: 'Temporal',
      text: messageOf(err),
      todo: 'correct the TEMPORAL_TLS_… paths',
    });
    return null;
  }
}

async function readKeys(config: Config, report: Report): Promise<MasterKey[] | null> {
  try {
    return await loadMasterKeys({
      secret: config.keys.master?.reveal() ?? null,
      dataDirectory: config.data.directory,
    });
  } catch (err) {
    report({
      level: 'problem',
      about: 'keys',
      text: messageOf(err),
      todo: 'restore .keys, or give JWT_SECRET',
    });
    return null;
  }
}

async function checkRows(
  { database }: DatabaseConnection,
  keys: readonly MasterKey[] | null,
  report: Report,
): Promise<void> {
  const rows = new DoctorReadModel(database);
  if (keys) await checkSecrets(rows, new Vault(keys), report);
  const homeless: string[] = [];
  for await (const id of rows.conversationsWithoutSandbox()) homeless.push(id);
  report({
    level: homeless.length > 0 ? 'problem' : 'ok',
    about: 'conversations',
    text:
      homeless.length > 0
        ? `${homeless.length} live in a sandbox of which there is no row: ${someOf(homeless)}`
        : 'each has the row of its sandbox',
    ...(homeless.length > 0
      ? { todo: 'their events can be read; restore the database, or delete them' }
      : {}),
  });
}

/** Kinds of findings about events that need nobody to act. */
const HARMLESS = new Set<ReindexKind>(['foreign']);

async function checkEvents({
  config,
  connection,
  repair,
  report,
}: Pick<DoctorCommand, 'config' | 'repair' | 'report'> & {
  connection: DatabaseConnection;
}): Promise<ReindexResult | null> {
  const directory = config.data.directory;
  let result: ReindexResult;
  try {
    result = await reindexEvents({ directory, database: connection.database, repair });
  } catch (err) {
    if (!(err instanceof EventDirectoryEmpty)) throw err;
    report({
      level: 'problem',
      about: 'events',
      text: err.message,
      todo: 'mount the disk they are on, or restore them',
    });
    return null;
  }
  for (const [kind, what] of Object.entries(REINDEX_ACTIONS) as [ReindexKind, string][]) {
    const count = result.found[kind];
    if (count === 0) continue;
    const repaired = repair && kind !== 'unreadable' && !HARMLESS.has(kind);
    report({
      level: HARMLESS.has(kind) ? 'note' : 'problem',
      about: 'events',
      text: `${count} × ${repair ? what : (what.split(': ')[0] ?? what)}`,
      ...(repaired ? { repaired } : {}),
      ...(repair || HARMLESS.has(kind)
        ? {}
        : { todo: './callboard doctor --repair, or ./callboard reindex' }),
      ...(kind === 'unreadable'
        ? { todo: 'look into the log of the system: the disk may be defective' }
        : {}),
    });
  }
  report({
    level: 'ok',
    about: 'events',
    text: `${result.sound} of ${result.conversations} conversations are as they should be`,
  });
  return result;
}

/** What fails in the middle, because a service went away, is a finding too. */
async function guarded(about: string, report: Report, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (err) {
    report({
      level: 'problem',
      about,
      text: `could not be looked at to the end: ${messageOf(err)}`,
      todo: 'run doctor again',
    });
  }
}
