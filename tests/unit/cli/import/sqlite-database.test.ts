import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqliteDatabase } from '../../../../cli/import/sqlite-database.js';
import { withWriteAheadLog } from '../../../../cli/import/sqlite-wal.js';
import { fingerprint, recordedPath } from '../../../support/import/recorded-installation.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'callboard-import-wal-'));
  cpSync(recordedPath('1.11.0', 'wal'), directory, { recursive: true });
  path = join(directory, 'openhands.db');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function notes(): Promise<string[]> {
  const database = await openSqliteDatabase(path);
  const texts: string[] = [];
  for await (const row of database.rows('notes', 'id')) texts.push(String(row['text']).slice(0, 20));
  await database.close();
  return texts;
}

describe('a SQLite database of another server', () => {
  it('is read with what only its log has, and neither file is changed', async () => {
    const before = fingerprint(directory);
    const read = await notes();
    expect(read).toHaveLength(9);
    expect(read.slice(0, 2)).toEqual(['committed in the log', 'changed in the log']);
    expect(read[2]).toBe('x'.repeat(20));
    expect(fingerprint(directory)).toBe(before);
  });

  it('counts nothing of its log from the first damaged frame on', async () => {
    const log = readFileSync(`${path}-wal`);
    const last = log.length - 100;
    log[last] = (log[last] ?? 0) ^ 0xff;
    writeFileSync(`${path}-wal`, log);
    expect((await notes())[1]).toBe('x'.repeat(20));
  });

  it('is read as it was before its log when the log was cut off', async () => {
    writeFileSync(`${path}-wal`, readFileSync(`${path}-wal`).subarray(0, 700));
    expect(await notes()).toEqual([]);
    rmSync(`${path}-wal`);
    expect(await notes()).toEqual([]);
  });

  it('takes an empty log, or one of another kind, for none', () => {
    const database = readFileSync(path);
    for (const log of [
      Buffer.alloc(0),
      Buffer.alloc(64),
      Buffer.from('no log at all, but some text of forty bytes'),
    ]) {
      expect(withWriteAheadLog(database, log).subarray(20)).toEqual(database.subarray(20));
    }
  });

  it.each([
    [
      'a file that is no database',
      () => {
        rmSync(`${path}-wal`);
        writeFileSync(path, 'not a database '.repeat(100));
      },
      /cannot be read as a SQLite database/,
    ],
    [
      'a change that was cut off',
      () => writeFileSync(`${path}-journal`, 'pages'),
      /let the old server run once/,
    ],
  ])('refuses %s with a sentence', async (_, damage, sentence) => {
    damage();
    await expect(openSqliteDatabase(path)).rejects.toThrow(sentence);
  });
});
