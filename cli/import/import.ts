/** Taking over what a Python server has: what is here already is never changed, and nothing is at the source. */
import { newSandbox } from '../../identity/new-sandbox.js';
import type { ImportRepository } from '../../db/import-repository.js';
import { isTransient } from '../../contract/event.js';
import { concealed, type Conceal } from '../../events/concealment.js';
import type { IncomingEvent } from '../../events/incoming-event.js';
import type { Core } from '../core.js';
import type { Ledger, TakenKind } from './ledger.js';
import { idOf, textOf, Undecodable, type SourceDatabase, type SourceRow } from './source-database.js';
import { readEvents, type EventDirectories, type EventDirectory } from './source-events.js';
import { decodeConversation, decodeStart, isFirstGeneration } from './source-rows.js';

/** What all parts of a run share. */
export interface ImportRun {
  core: Pick<Core, 'vault' | 'sandboxes' | 'settings' | 'secrets' | 'events' | 'eventSecrets'>;
  rows: ImportRepository;
  ledger: Ledger;
  /** Says what would be taken, and writes nothing. */
  dryRun: boolean;
  /** Whose everything is that has no owner at the source; null for nobody, as on an instance without sign-in. */
  user: string | null;
  /** Told how far it is. */
  note: (text: string) => void;
  signal: AbortSignal;
}

/** Tables that are understood, or hold nothing of a user's. */
const KNOWN_TABLES = new Set([
  'alembic_version',
  'conversation_metadata',
  'app_conversation_start_task',
  'event_callback',
  'event_callback_result',
  'pending_messages',
  'v1_remote_sandbox',
  'recaptcha_logs',
]);

/** What is not taken over, by table. */
const LEFT: readonly (readonly [table: string, kind: TakenKind, why: string])[] = [
  [
    'v1_remote_sandbox',
    'sandboxes',
    'a sandbox cannot be taken over while it runs: its conversations can be read',
  ],
  ['event_callback', 'callbacks', 'they wait for events of sandboxes that do not come along'],
  [
    'pending_messages',
    'messages',
    'they wait for sandboxes that do not come along: send them in a new conversation',
  ],
];

/** Takes conversations with their events, and starts. */
export async function importDatabase(
  run: ImportRun,
  source: SourceDatabase,
  directories: EventDirectories,
): Promise<void> {
  const tables = await source.tables();
  const listed = new Set<string>();
  if (tables.has('conversation_metadata')) {
    for await (const row of source.rows('conversation_metadata', 'conversation_id')) {
      run.signal.throwIfAborted();
      await takeRow(run, 'conversations', row, 'conversation_id', () =>
        takeConversation(run, row, directories, listed),
      );
    }
  }
  if (tables.has('app_conversation_start_task')) {
    for await (const row of source.rows('app_conversation_start_task', 'created_at')) {
      run.signal.throwIfAborted();
      await takeRow(run, 'start tasks', row, 'id', () => takeStart(run, row));
    }
  }
  for (const [table, kind, why] of LEFT) {
    if (tables.has(table)) run.ledger.because(kind, 'left', why, undefined, await source.count(table));
  }
  for (const table of [...tables].filter((name) => !KNOWN_TABLES.has(name)).sort()) {
    const count = await source.count(table);
    if (count > 0)
      run.ledger.because(
        'other tables',
        'left',
        'their meaning is not known here',
        `${table}: ${count} rows`,
      );
  }
  for (const id of directories.keys()) {
    if (listed.has(id)) continue;
    run.ledger.because(
      'conversations',
      'left',
      'there are events of it, but the database does not know it (any more)',
      id,
    );
  }
}

/** A row that cannot be understood is told of, and the others are taken. */
async function takeRow(
  { ledger }: ImportRun,
  kind: TakenKind,
  row: SourceRow,
  idColumn: string,
  take: () => Promise<void>,
): Promise<void> {
  try {
    await take();
  } catch (err) {
    if (!(err instanceof Undecodable)) throw err;
    ledger.because(kind, 'failed', err.message, textOf(row, idColumn) ?? 'without an id');
  }
}

async function takeConversation(
  run: ImportRun,
  row: SourceRow,
  directories: EventDirectories,
  listed: Set<string>,
): Promise<void> {
  const { rows, ledger, core } = run;
  const idText = idOf(row, 'conversation_id');
  if (idText !== null) listed.add(idText);
  if (isFirstGeneration(row)) {
    ledger.because(
      'conversations',
      'left',
      'conversations of the first generation (V0) cannot be shown here',
      idText ?? '',
    );
    return;
  }
  const { dropped, ...conversation } = decodeConversation(row);
  const { id } = conversation;
  const places = directories.get(id) ?? [];
  conversation.createdByUserId ??= places.find(({ owner }) => owner !== null)?.owner ?? run.user;
  const found = await rows.findConversation(id);
  if (found === 'deleted') {
    ledger.because('conversations', 'left', 'they were deleted here', id);
    return;
  }
  if (found === 'present') ledger.note('conversations', 'there');
  else {
    if (!run.dryRun) {
      const { sandboxId, createdByUserId: userId } = conversation;
      const isKnown = await rows.hasSandbox(sandboxId);
      const sandbox = isKnown
        ? null
        : await newSandbox(core.vault, { id: sandboxId, userId, specId: 'imported' });
      await rows.takeConversation(conversation, sandbox);
    }
    ledger.note('conversations', 'taken');
    for (const member of dropped) ledger.remark('conversations', 'left', `its ${member} is unknown here`, id);
  }
  const conceal = await concealerOf(run, conversation.sandboxId);
  for (const place of places) await takeEvents(run, id, place, conceal);
  run.note(
    `${ledger.count('conversations', 'taken')} conversations, ${ledger.count('events', 'taken')} events`,
  );
}

/** Takes out of events what is secret here, as it is for events of our own sandboxes. */
async function concealerOf({ core, dryRun }: ImportRun, sandboxId: string): Promise<Conceal> {
  const sandbox = dryRun ? null : await core.sandboxes.read(sandboxId);
  return sandbox ? core.eventSecrets.concealer(sandbox) : (json) => json;
}

async function takeEvents(
  { core, ledger, dryRun, signal }: ImportRun,
  id: string,
  place: EventDirectory,
  conceal: Conceal,
): Promise<void> {
  for await (const { events, damaged } of readEvents(place)) {
    signal.throwIfAborted();
    for (const { name, why } of damaged) ledger.because('events', 'failed', why, `${id}/${name}`);
    const kept = events.filter(({ event }) => !isTransient(event));
    ledger.because(
      'events',
      'left',
      'snapshots of the whole state and pieces of answers are not kept here',
      undefined,
      events.length - kept.length,
    );
    const fresh = await notStored(core, id, kept);
    ledger.note('events', 'there', kept.length - fresh.length);
    if (dryRun) ledger.note('events', 'taken', fresh.length);
    else {
      const { stored } = await core.events.ingest(id, concealed(fresh, conceal));
      ledger.note('events', 'taken', stored.length);
      ledger.note('events', 'there', fresh.length - stored.length);
    }
  }
}

async function notStored(
  { events }: ImportRun['core'],
  id: string,
  incoming: readonly IncomingEvent[],
): Promise<IncomingEvent[]> {
  const missing = new Set(
    await events.missing(
      id,
      incoming.map(({ event }) => event.id),
    ),
  );
  return incoming.filter(({ event }) => missing.has(event.id));
}

async function takeStart({ rows, ledger, dryRun, user }: ImportRun, row: SourceRow): Promise<void> {
  const { dropped, ...start } = decodeStart(row);
  start.createdByUserId ??= user;
  if (await rows.hasStart(start.id)) {
    ledger.note('start tasks', 'there');
    return;
  }
  if (!dryRun) await rows.takeStart(start);
  ledger.note('start tasks', 'taken');
  for (const member of dropped)
    ledger.remark('start tasks', 'left', `its ${member} is unknown here`, start.id);
}
