import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Config } from '../config/config.js';
import { defaultSpecId } from '../config/sandbox-spec.js';
import { sandboxPoolWorkflowId } from '../contract/ids.js';
import { openDatabase } from '../db/database.js';
import { Hosts } from '../db/hosts.js';
import { WarmSandboxes } from '../db/warm-sandboxes.js';
import { loadMasterKeys } from '../identity/keys.js';
import { poolDrainSignal, poolFillSignal, poolRecycleSignal, poolStateQuery } from '../workflows/messages.js';
import type { CommandInput } from './command.js';
import { temporalClient } from './doctor/doctor.js';
import { enginesAtHand } from './engines-at-hand.js';
import { hostLines } from './pool-hosts.js';
import { UserError } from './user-error.js';

const ORDERS = { recycle: poolRecycleSignal, drain: poolDrainSignal, fill: poolFillSignal } as const;
type PoolOrder = keyof typeof ORDERS;
/** How long Temporal and a worker may take to answer, in milliseconds. */
const ANSWER_MS = 5_000;

export interface PoolAccess {
  warm: Pick<WarmSandboxes, 'ofSpec'>;
  hosts: Pick<Hosts, 'known'>;
  client: Pick<Client, 'workflow' | 'withDeadline'>;
  specId: string;
}

/** `callboard pool [list | recycle | drain | fill]`: for whoever operates the machine, by its database and its Temporal. */
export async function poolCommand({ positionals, config: read }: CommandInput): Promise<void> {
  const [word = 'list', ...rest] = positionals;
  const isKnown = rest.length === 0 && (word === 'list' || isOrder(word));
  if (!isKnown) throw new UserError('Say ./callboard pool list, recycle, drain or fill.');
  const config = await read();
  await withPool(config, (pool) => runPool(pool, word, (line) => void process.stdout.write(`${line}\n`)));
}

/** Shows the pool, or gives it an order. */
export async function runPool(
  { warm, hosts, client, specId }: PoolAccess,
  word: 'list' | PoolOrder,
  print: (line: string) => void,
): Promise<void> {
  const handle = client.workflow.getHandle(sandboxPoolWorkflowId(specId));
  const deadline = Date.now() + ANSWER_MS;
  const orUnknown = (err: unknown): never => {
    if (!(err instanceof WorkflowNotFoundError)) throw err;
    throw new UserError(
      `No sandboxes of ${specId} are kept warm: set CALLBOARD_WARM_SANDBOXES for the workers, and restart them.`,
    );
  };
  if (word !== 'list') {
    await client.withDeadline(deadline, () => handle.signal(ORDERS[word])).catch(orUnknown);
    print(`${word}: ordered`);
    return;
  }
  const state = await client.withDeadline(deadline, () => handle.query(poolStateQuery)).catch(orUnknown);
  const { report, drained, failures = 0, lastFailure } = state;
  print(
    `${specId}: ${report ? `${report.target} wanted, ${report.ready} ready, ${report.booting} booting` : 'not looked at yet'}`,
  );
  if (drained) print('It was emptied by an order: ./callboard pool fill takes that back.');
  if (report?.waitsFor !== undefined) print(`It makes none now: it waits for ${report.waitsFor}.`);
  if (failures > 0)
    print(`${failures} boots have failed one after another, the last one because: ${lastFailure ?? ''}`);
  const [sandboxes, machines] = await Promise.all([warm.ofSpec(specId), hosts.known()]);
  for (const { id, status, hostId, warmSince, agentServerVersion, retired } of sandboxes) {
    const shown = retired ? 'LEAVING' : status;
    print(
      `${id.padEnd(34)} ${shown.padEnd(9)} ${warmSince.toISOString().slice(0, 19)}Z  ${agentServerVersion ?? '-'}  ${hostId ?? '-'}`,
    );
  }
  const lines = hostLines(machines, sandboxes);
  print(
    lines.length > 0 ? 'Machines:' : 'Machines: none, no worker that owns sandboxes has told of its own.',
  );
  for (const line of lines) print(line);
}

const isOrder = (word: string): word is PoolOrder => Object.hasOwn(ORDERS, word);

async function withPool(config: Config, work: (pool: PoolAccess) => Promise<void>): Promise<void> {
  const { databaseUrl, temporalAddress } = enginesAtHand(config);
  const places = { secret: config.keys.master?.reveal() ?? null, dataDirectory: config.data.directory };
  const client =
    temporalAddress === null
      ? null
      : await temporalClient(config, temporalAddress, await loadMasterKeys(places), ({ text }) => {
          throw new UserError(`Temporal cannot be asked: ${text}.`);
        });
  if (databaseUrl === null || client === null) {
    throw new UserError(
      'Callboard does not run on this data directory, so its pool cannot be asked: start it with ./callboard up, or set DATABASE_URL and TEMPORAL_ADDRESS.',
    );
  }
  const database = openDatabase({ url: databaseUrl, maxConnections: 1 });
  try {
    const warm = new WarmSandboxes(database.database);
    await work({ warm, hosts: new Hosts(database.database), client, specId: defaultSpecId(config) });
  } finally {
    await Promise.all([database.close(), client.connection.close()]);
  }
}
