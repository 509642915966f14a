import { Client } from '@temporalio/client';
import { openDatabase } from '../../db/database.js';
import { SealedValues } from '../../db/sealed-values.js';
import { openKeyRing } from '../../identity/keys.js';
import { Vault } from '../../identity/vault.js';
import type { Config } from '../../config/config.js';
import type { CommandInput } from '../command.js';
import { embeddedDatabaseUrl } from '../embedded/running-database.js';
import { findRunningInstance } from '../instance.js';
import { lazyConnection, temporalOptions } from '../temporal-connection.js';
import { UserError } from '../user-error.js';
import { listKeys, removeKey, rewrapRows, rotateKeys, type KeyUses } from './key-orders.js';
import { openWorkflowsByKey } from './open-workflows.js';

/** Looking through a large table takes its time. */
const STATEMENT_TIMEOUT_MS = 600_000;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** `callboard keys …`. */
export async function keysCommand({
  positionals,
  values,
  config: read,
}: CommandInput): Promise<number | void> {
  const [order = 'list', id] = positionals;
  const config = await read();
  const places = { secret: config.keys.master?.reveal() ?? null, dataDirectory: config.data.directory };
  if (order === 'rotate') return rotateKeys(places, print);
  if (order === 'list') return withUses(config, (uses) => listKeys(places, uses, print));
  if (order === 'rewrap') {
    const ring = await openKeyRing(places, (err) => {
      throw err;
    });
    return withUses(config, (uses) => rewrapRows(required(uses), new Vault(ring), print));
  }
  if (order === 'remove' && id !== undefined) {
    return withUses(config, (uses) =>
      removeKey(places, id, values['force'] === true ? null : required(uses), print),
    );
  }
  throw new UserError('Say what to do with the keys: list, rotate, rewrap, or remove with the id of a key.');
}

/** @param work is given null when neither addresses are configured nor an `up` runs. */
async function withUses<Result>(
  config: Config,
  work: (uses: KeyUses | null) => Promise<Result>,
): Promise<Result> {
  const running = findRunningInstance(config.data.directory);
  const databaseUrl =
    config.database.url?.reveal() ?? (running ? embeddedDatabaseUrl(config.data.directory) : null);
  const address = config.temporal.address ?? running?.temporalAddress ?? null;
  if (databaseUrl === null || address === null) return work(null);
  const database = openDatabase({
    url: databaseUrl,
    maxConnections: 2,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  const connection = lazyConnection(await temporalOptions(config, address));
  const client = new Client({ connection, namespace: config.temporal.namespace });
  try {
    return await work({
      values: new SealedValues(database.database),
      openWorkflows: () => openWorkflowsByKey(client),
    });
  } finally {
    await Promise.all([database.close(), connection.close()]);
  }
}

function required(uses: KeyUses | null): KeyUses {
  if (uses) return uses;
  throw new UserError(
    'Callboard does not run on this data directory, so its database cannot be asked: start it with ./callboard up, or set DATABASE_URL and TEMPORAL_ADDRESS.',
  );
}
