import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migrateDatabase } from '../../db/migrate.js';
import { createEmptyDatabase, createTestDatabase } from '../support/database.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const MIGRATIONS = here('../../db/migrations');

interface Journal {
  entries: { idx: number; when: number; tag: string }[];
}
const journalOf = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as Journal;

describe('migrations', () => {
  /** An empty database; gone after the test. */
  async function emptyDatabase() {
    const database = await createEmptyDatabase('bare');
    onTestFinished(() => database.drop());
    return database.url;
  }

  async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }
  const applied = (url: string) =>
    query<{ created_at: string }>(
      url,
      'select created_at from drizzle.__drizzle_migrations order by created_at',
    );
  const tables = async (url: string) =>
    (
      await query<{ name: string }>(
        url,
        `select table_name as name from information_schema.tables where table_schema = 'public' order by 1`,
      )
    ).map(({ name }) => name);

  /** The migrations of this version up to one, and others after it. */
  function folderWith(upTo: number, ...further: string[]): string {
    const folder = mkdtempSync(join(tmpdir(), 'callboard-migrations-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    cpSync(MIGRATIONS, folder, { recursive: true });
    const journal = journalOf(folder);
    journal.entries.length = upTo;
    for (const [index, statement] of further.entries()) {
      const tag = `later_${index}`;
      writeFileSync(join(folder, `${tag}.sql`), statement);
      journal.entries.push({
        ...journal.entries[0]!,
        idx: upTo + index,
        when: Date.now() + 1e9 + index,
        tag,
      });
    }
    writeFileSync(join(folder, 'meta', '_journal.json'), JSON.stringify(journal));
    return folder;
  }

  it.each(['empty', 'of the first version'])(
    'are applied once when several processes start at the same time on a database that is %s',
    async (state) => {
      const url = await emptyDatabase();
      if (state !== 'empty') await migrateDatabase(url, { folder: folderWith(1) });
      const process = () =>
        promisify(execFile)('node', ['--import', 'tsx', here('../support/migrate-entry.ts'), url]);
      await Promise.all([process(), process(), process(), migrateDatabase(url)]);
      expect(await applied(url)).toHaveLength(journalOf(MIGRATIONS).entries.length);
      expect(await tables(url)).toContain('start_tasks');
    },
  );

  it('leave a current database as it is', async () => {
    const database = await createTestDatabase();
    const { url } = database;
    onTestFinished(() => database.drop());
    const before = await applied(url);
    await migrateDatabase(url);
    expect(await applied(url)).toEqual(before);
  });

  it('that fail leave nothing by halves, and are applied when they work', async () => {
    const url = await emptyDatabase();
    await migrateDatabase(url);
    const count = journalOf(MIGRATIONS).entries.length;
    const before = [await tables(url), await applied(url)];
    const failing = folderWith(
      count,
      'create table one (id text);',
      'create table two (id text); select 1 / 0;',
    );
    await expect(migrateDatabase(url, { folder: failing })).rejects.toThrow();
    expect([await tables(url), await applied(url)]).toEqual(before);
    writeFileSync(join(failing, 'later_1.sql'), 'create table two (id text);');
    await migrateDatabase(url, { folder: failing });
    expect(await tables(url)).toEqual(expect.arrayContaining(['one', 'two']));
  });

  it('of a later version keep this one from starting, unless that is wanted', async () => {
    const url = await emptyDatabase();
    const count = journalOf(MIGRATIONS).entries.length;
    await migrateDatabase(url, { folder: folderWith(count, 'create table later (id text);') });
    await expect(migrateDatabase(url)).rejects.toThrow(
      'The database was upgraded by a later version of Callboard: run that version, or, to go back by one version, set CALLBOARD_ALLOW_NEWER_SCHEMA=1.',
    );
    await migrateDatabase(url, { allowNewer: true });
    expect(await tables(url)).toContain('later');
  });

  it('count the events that are there, and those that come and go afterwards', async () => {
    const url = await emptyDatabase();
    const before = journalOf(MIGRATIONS).entries.findIndex(({ tag }) => tag.endsWith('event-counts'));
    await migrateDatabase(url, { folder: folderWith(before) });
    const add = (conversation: string, from: number, to: number) =>
      query(
        url,
        `insert into event_index (conversation_id, event_id, kind, timestamp, file_name)
         select '${conversation}', n::text, case when n % 2 = 0 then 'even' else 'odd' end, now(), 'x'
         from generate_series(${from}, ${to}) n`,
      );
    const counts = async () =>
      (
        await query<{ line: string }>(
          url,
          `select conversation_id || ' ' || kind || ' ' || total as line from event_counts order by 1`,
        )
      ).map(({ line }) => line);
    await add('a', 1, 5);
    await migrateDatabase(url);
    expect(await counts()).toEqual(['a even 2', 'a odd 3']);
    await add('a', 6, 6);
    await add('b', 1, 1);
    expect(await counts()).toEqual(['a even 3', 'a odd 3', 'b odd 1']);
    await query(url, `delete from event_index where conversation_id = 'b' or event_id = '2'`);
    expect(await counts()).toEqual(['a even 2', 'a odd 3']);
    await query(url, 'truncate event_index');
    expect(await counts()).toEqual([]);
  });
});
