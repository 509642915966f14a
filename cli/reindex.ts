/** `callboard reindex`: brings the index of the events to what their files say. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Config } from '../config/config.js';
import { hexId, isUuid } from '../contract/ids.js';
import { openDatabase } from '../db/database.js';
import { EventDirectoryEmpty, reindexEvents } from '../events/reindex.js';
import {
  REINDEX_ACTIONS,
  type ReindexFinding,
  type ReindexKind,
  type ReindexResult,
} from '../events/reindex-findings.js';
import { databaseAtHand } from './database-at-hand.js';
import type { Progress } from './progress.js';
import { hasCode, messageOf, UserError } from './user-error.js';

export interface ReindexCommand {
  config: Config;
  /** Only this one, in any spelling. */
  conversation: string | null;
  /** Says what would be done. */
  check: boolean;
  /** Begins anew although an earlier run was interrupted. */
  fromStart: boolean;
  progress: Progress;
  print: (line: string) => void;
  signal: AbortSignal;
  /** Has conversations looked after whose events or callbacks wait; where it cannot, the API does it in time. */
  follow?: (result: ReindexResult) => Promise<void>;
}

/** Findings of a kind that are named one by one. */
const NAMED = 5;

/** @returns the exit status: 1 when something was found and nothing may be changed */
export async function runReindex(command: ReindexCommand): Promise<number> {
  const { config, progress, print } = command;
  const { url, stop } = await databaseAtHand(config, progress);
  const connection = openDatabase({ url, onIdleError: (err) => progress.line(`  ! ${err.message}`) });
  try {
    await connection.pool.query('select 1 from event_index limit 1').catch((err: unknown) => {
      throw new UserError(
        `The database cannot be used (${messageOf(err)}): start it, and run ./callboard migrate.`,
      );
    });
    const result = await compare(command, connection.database);
    summarize(result, command.check, print);
    const changes = Object.entries(result.found).some(([kind, count]) => count > 0 && kind !== 'foreign');
    if (!command.check) await command.follow?.(result);
    return command.check && changes ? 1 : 0;
  } catch (err) {
    if (err instanceof EventDirectoryEmpty) {
      throw new UserError(`${err.message} Is the disk mounted? Nothing was changed.`);
    }
    throw err;
  } finally {
    await connection.close();
    await stop();
  }
}

async function compare(
  { config, conversation, check, fromStart, progress, print, signal }: ReindexCommand,
  database: Parameters<typeof reindexEvents>[0]['database'],
): Promise<ReindexResult> {
  if (conversation !== null && !isUuid(conversation)) {
    throw new UserError(`${conversation} is no id of a conversation: give its 32 hex digits, or its UUID.`);
  }
  const place = join(config.data.directory, 'v1', 'reindex.json');
  const isWhole = conversation === null && !check;
  const after = isWhole && !fromStart ? await interruptedAt(place) : undefined;
  if (after)
    print(
      `Going on after conversation ${after}, where an earlier run was interrupted; --from-start begins anew.`,
    );
  const named = new Map<ReindexKind, number>();
  const onFinding = ({ kind, conversationId, name, setAside }: ReindexFinding): void => {
    const count = (named.get(kind) ?? 0) + 1;
    named.set(kind, count);
    if (count <= NAMED) print(`${kind}: ${conversationId}/${name}${setAside ? ` → ${setAside}` : ''}`);
  };
  const result = await progress.step(check ? 'comparing events' : 'reindexing events', (note) =>
    reindexEvents({
      directory: config.data.directory,
      database,
      repair: !check,
      conversationId: conversation === null ? undefined : hexId(conversation),
      after,
      onFinding,
      signal,
      async onConversation(id, { conversations, sound }) {
        note(`${conversations} conversations, ${sound} sound events`);
        if (isWhole) await writeFile(place, JSON.stringify({ after: id }), { mode: 0o600 });
      },
    }),
  );
  if (isWhole) await rm(place, { force: true });
  return result;
}

function summarize(result: ReindexResult, check: boolean, print: (line: string) => void): void {
  print(`${result.conversations} conversations, ${result.sound} events as they should be.`);
  for (const [kind, what] of Object.entries(REINDEX_ACTIONS) as [ReindexKind, string][]) {
    const [is, does = ''] = what.split(': ');
    const count = result.found[kind];
    if (count > 0) print(`${String(count).padStart(8)} × ${is}${check ? '' : `: ${does}`}`);
  }
  if (result.toFetch.length > 0 && !check) {
    print('What was lost is fetched from the agent-servers that still have it, when they run.');
  }
}

const Place = z.object({ after: z.string().regex(/^[0-9a-f]{32}$/) });

async function interruptedAt(place: string): Promise<string | undefined> {
  try {
    return Place.safeParse(JSON.parse(await readFile(place, 'utf8'))).data?.after;
  } catch (err) {
    if (hasCode(err, 'ENOENT') || err instanceof SyntaxError) return undefined;
    throw err;
  }
}
