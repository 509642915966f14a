import type { Books } from './books.js';
import type { SandboxRow, Snapshot } from './snapshot.js';
import type { Violation } from './violation.js';

/** Rows, actors, processes and directories tell the same, and there is one of each. */
export function checkSandboxes(snapshot: Snapshot, books: Books): Violation[] {
  const rows = new Map(snapshot.sandboxes.map((row) => [row.id, row]));
  const living = snapshot.sandboxes.filter(({ deleted }) => !deleted);
  return [
    ...checkLeftovers(snapshot, rows),
    ...checkActors(snapshot, rows),
    ...living.flatMap((row) => checkProcess(snapshot, row)),
    ...checkOnlyOnes(snapshot, books, living),
    ...checkDeleted(snapshot, books, rows),
  ];
}

const isGone = (row: SandboxRow | undefined): boolean => row === undefined || row.deleted;

/** Nothing of a sandbox is left without its row. */
function checkLeftovers(
  { processes, directories, leases }: Snapshot,
  rows: ReadonlyMap<string, SandboxRow>,
): Violation[] {
  const found: Violation[] = [];
  for (const { pid, sandboxId } of processes) {
    if (isGone(rows.get(sandboxId)))
      found.push({ is: 'orphaned', what: `process ${pid} of sandbox ${sandboxId}, which is no more` });
  }
  for (const id of directories) {
    if (isGone(rows.get(id)))
      found.push({ is: 'orphaned', what: `directory of sandbox ${id}, which is no more` });
  }
  for (const { sandbox_id, port } of leases) {
    if (isGone(rows.get(sandbox_id)))
      found.push({
        is: 'orphaned',
        what: `lease of port ${port} for sandbox ${sandbox_id}, which is no more`,
      });
  }
  return found;
}

function checkActors({ workflows }: Snapshot, rows: ReadonlyMap<string, SandboxRow>): Violation[] {
  const found: Violation[] = [];
  const actors = new Set(
    workflows.filter((id) => id.startsWith('sandbox/')).map((id) => id.slice('sandbox/'.length)),
  );
  for (const id of actors) {
    const row = rows.get(id);
    if (!row) found.push({ is: 'orphaned', what: `actor of sandbox ${id}, which has no row` });
    else if (row.deleted)
      found.push({ is: 'stuck', what: `sandbox ${id} is deleted, and its actor still runs` });
  }
  for (const [id, row] of rows) {
    if (!row.deleted && !actors.has(id))
      found.push({ is: 'orphaned', what: `sandbox ${id} is ${row.status} and has no actor` });
  }
  return found;
}

/** What a row says is so. */
function checkProcess({ processes }: Snapshot, { id, status }: SandboxRow): Violation[] {
  const servers = processes.filter(({ sandboxId, server }) => server && sandboxId === id);
  if (servers.length > 1) {
    const pids = servers.map(({ pid }) => pid).join(', ');
    return [{ is: 'doubled', what: `sandbox ${id} has several agent-servers: ${pids}` }];
  }
  const state = servers[0]?.state ?? 'gone';
  const right: Record<string, readonly string[]> = {
    RUNNING: ['running'],
    PAUSED: ['stopped', 'gone'],
    MISSING: ['gone'],
    ERROR: ['gone'],
  };
  if (!right[status]) return [{ is: 'stuck', what: `sandbox ${id} is still ${status}` }];
  if (right[status].includes(state)) return [];
  return [{ is: 'stuck', what: `sandbox ${id} is ${status}, and its agent-server is ${state}` }];
}

function checkOnlyOnes(
  { tasks, conversations, ledger }: Snapshot,
  books: Books,
  living: readonly SandboxRow[],
): Violation[] {
  const found: Violation[] = [];
  const alive = new Set(living.map(({ id }) => id));
  const homes = new Map<string, Set<string>>();
  for (const line of ledger) {
    if (line.what !== 'created' || !alive.has(line.sandbox)) continue;
    homes.set(line.conversation, (homes.get(line.conversation) ?? new Set()).add(line.sandbox));
  }
  for (const [conversation, sandboxes] of homes) {
    if (sandboxes.size > 1)
      found.push({
        is: 'doubled',
        what: `conversation ${conversation} is in ${[...sandboxes].join(' and ')}`,
      });
  }
  const wanted = new Set([
    ...tasks.map(({ sandbox_id }) => sandbox_id),
    ...conversations.map(({ sandbox_id }) => sandbox_id),
    ...books.ownSandboxes,
  ]);
  const unwanted = living.filter(({ id, warm }) => !warm && !wanted.has(id));
  // Whoever asked for one and got no answer may have got it all the same.
  const { unanswered = 0, unavailable = 0 } = books.tallies.get('start a sandbox') ?? {};
  if (unwanted.length > unanswered + unavailable) {
    const ids = unwanted.map(({ id }) => id).join(', ');
    found.push({ is: 'doubled', what: `sandboxes that nobody has asked for: ${ids}` });
  }
  return found;
}

/** What was answered to be deleted is. */
function checkDeleted(
  { conversations, files }: Snapshot,
  books: Books,
  rows: ReadonlyMap<string, SandboxRow>,
): Violation[] {
  const found: Violation[] = [];
  for (const id of books.goneSandboxes) {
    const row = rows.get(id);
    if (row && !row.deleted)
      found.push({ is: 'stuck', what: `sandbox ${id} was deleted and is ${row.status}` });
  }
  for (const { id, deleted } of conversations) {
    if (books.goneConversations.has(id) && !deleted)
      found.push({ is: 'stuck', what: `conversation ${id} was deleted and is still there` });
  }
  for (const { id, deleted } of conversations) {
    if (deleted && (files.get(id) ?? []).length > 0)
      found.push({ is: 'orphaned', what: `event files of conversation ${id}, which is deleted` });
  }
  return found;
}
