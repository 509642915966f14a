/** Everything that is there, wherever it is kept, at one moment after all has come to rest. */
import { Client, Connection } from '@temporalio/client';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { digestOf, type LedgerLine } from '../support/light-agent-server/ledger.js';
import { isAgentServer, markedProcesses, sandboxDirectories, type AgentProcess } from './agent-processes.js';
import type { Cluster } from './cluster.js';

export interface TaskRow {
  id: string;
  conversation_id: string;
  status: string;
  detail: string | null;
  sandbox_id: string | null;
  app_conversation_id: string | null;
}

export interface SandboxRow {
  id: string;
  status: string;
  deleted: boolean;
  /** Kept for a start that may come, and nobody's. */
  warm: boolean;
}

export interface ConversationRow {
  id: string;
  sandbox_id: string;
  execution_status: string | null;
  deleted: boolean;
}

/** An event in the store. */
export interface StoredEvent {
  conversation_id: string;
  event_id: string;
  kind: string;
  file_name: string;
  /** Null: its file is not there. */
  digest: string | null;
  /** Of a user's message: its text. */
  text: string | null;
}

export interface CallbackRow {
  id: string;
  conversation_id: string;
  processor_kind: string;
  event_kind: string;
  status: string;
}

export interface PendingRow {
  id: string;
  conversation_id: string;
  status: string;
  detail: string | null;
}

export interface Snapshot {
  tasks: TaskRow[];
  sandboxes: SandboxRow[];
  conversations: ConversationRow[];
  events: StoredEvent[];
  callbacks: CallbackRow[];
  results: { callback_id: string; event_id: string }[];
  /** Callbacks that wait. */
  queued: number;
  /** Messages that were not delivered, and why. */
  pending: PendingRow[];
  leases: { sandbox_id: string; port: number }[];
  /** Names of files below the events directory, by conversation. */
  files: Map<string, string[]>;
  processes: (AgentProcess & { server: boolean })[];
  directories: string[];
  /** Ids of running workflows. */
  workflows: string[];
  /** Notes of the light agent-servers, in their order, one file after the other. */
  ledger: LedgerLine[];
}

export async function takeSnapshot(cluster: Cluster): Promise<Snapshot> {
  const eventsDirectory = join(cluster.directory, 'v1', 'events');
  const files = new Map(namesIn(eventsDirectory).map((id) => [id, namesIn(join(eventsDirectory, id))]));
  const database = new pg.Client({ connectionString: cluster.databaseUrl });
  await database.connect();
  const rows = async <Row>(statement: string): Promise<Row[]> =>
    (await database.query(statement)).rows as Row[];
  try {
    const events = await rows<Omit<StoredEvent, 'digest' | 'text'>>(
      'select conversation_id, event_id, kind, file_name from event_index',
    );
    return {
      tasks: await rows(
        'select id, conversation_id, status, detail, sandbox_id, app_conversation_id from start_tasks',
      ),
      sandboxes: await rows(
        'select id, status, deleted_at is not null as deleted, warm_since is not null as warm from sandboxes',
      ),
      conversations: await rows(
        'select id, sandbox_id, execution_status, deleted_at is not null as deleted from conversations',
      ),
      events: events.map((event) => ({ ...event, ...contentOf(eventsDirectory, event) })),
      callbacks: await rows(
        'select id, conversation_id, processor_kind, event_kind, status from event_callbacks',
      ),
      results: await rows('select callback_id, event_id from event_callback_results'),
      queued: Number((await rows<{ n: string }>('select count(*) as n from callback_queue'))[0]?.n ?? 0),
      pending: await rows(
        "select id, conversation_id, status, detail from pending_messages where status <> 'delivered'",
      ),
      leases: await rows('select sandbox_id, port from port_leases'),
      files,
      processes: markedProcesses(cluster.hostDirectories).map((one) => ({
        ...one,
        server: isAgentServer(one),
      })),
      directories: sandboxDirectories(cluster.hostDirectories).map(({ sandboxId }) => sandboxId),
      workflows: await runningWorkflows(cluster.temporalAddress),
      ledger: readLedger(cluster.ledgerDirectory),
    };
  } finally {
    await database.end();
  }
}

async function runningWorkflows(address: string): Promise<string[]> {
  const connection = await Connection.connect({ address });
  try {
    const ids: string[] = [];
    const { workflow } = new Client({ connection });
    for await (const { workflowId } of workflow.list({ query: "ExecutionStatus = 'Running'" }))
      ids.push(workflowId);
    return ids;
  } finally {
    await connection.close();
  }
}

function contentOf(
  directory: string,
  { conversation_id, file_name }: Pick<StoredEvent, 'conversation_id' | 'file_name'>,
): Pick<StoredEvent, 'digest' | 'text'> {
  const file = join(directory, conversation_id, file_name);
  if (!existsSync(file)) return { digest: null, text: null };
  const event = JSON.parse(readFileSync(file, 'utf8')) as {
    kind?: string;
    source?: string;
    llm_message?: { content?: { text?: string }[] };
  };
  const isUsers = event.kind === 'MessageEvent' && event.source === 'user';
  const text = event.llm_message?.content?.map((part) => part.text ?? '').join('\n') ?? '';
  return { digest: digestOf(event), text: isUsers ? text : null };
}

export function readLedger(directory: string): LedgerLine[] {
  return readdirSync(directory).flatMap((name) =>
    readFileSync(join(directory, name), 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line) as LedgerLine),
  );
}

/** None of a directory that is not there: a deleted conversation's may go while it is looked at. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
