/** What `callboard import` keeps, refuses and says, on copies of what real Python servers wrote. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  counted,
  openImportWorld,
  recordedId,
  SECRETS,
  type ImportWorld,
} from '../support/import/import-world.js';
import { copyOfData, recordedPath } from '../support/import/recorded-installation.js';

describe('callboard import', () => {
  let world: ImportWorld;
  let source: string;
  beforeAll(async () => {
    world = await openImportWorld();
    source = copyOfData('1.11.0');
  });
  afterAll(async () => {
    await world.close();
    rmSync(source, { recursive: true, force: true });
  });

  it('keeps what is here, unless it is told to take that of the source', async () => {
    await world.server.core.secrets.putCustom(null, { name: 'MARKED_SECRET', value: 'chosen here' });
    await world.server.core.settings.update(null, () => ({ language: 'fr' }));
    const kept = await world.take({ from: source });
    expect(kept.status).toBe(0);
    expect(counted(kept.said, 'secrets')).toEqual([1, 0, 1, 0]);
    expect(counted(kept.said, 'settings')).toEqual([0, 0, 1, 0]);
    expect(kept.said).toContain('--overwrite');
    expect(await world.get('settings')).toMatchObject({ language: 'fr' });

    const overwritten = await world.take({ from: source, overwrite: true });
    expect(counted(overwritten.said, 'secrets')).toEqual([1, 1, 0, 0]);
    expect(counted(overwritten.said, 'settings')).toEqual([1, 0, 0, 0]);
    expect(await world.get('settings')).toMatchObject({ language: 'de' });
    expect(await world.server.core.secrets.readCustomValue(null, 'MARKED_SECRET')).toBe(
      'marked-secret-value-111',
    );
  });

  it('gives what has no owner to a user, and leaves to others what is theirs', async () => {
    const taken = await openImportWorld();
    try {
      expect((await taken.take({ from: recordedPath('0.62.0', 'data'), user: 'alice' })).status).toBe(0);
      const rows = await taken.server.core.connection.pool.query<{ id: string; owner: string }>(
        'select id, created_by_user_id as owner from conversations order by id',
      );
      expect(rows.rows.map(({ owner }) => owner)).toEqual(['alice', 'alice', 'user-of-the-old-server']);
      expect([...(await taken.server.core.secrets.readCustom('alice')).keys()]).toEqual([
        'MARKED_SECRET',
        'OTHER_SECRET',
      ]);
      expect(await taken.server.core.settings.find(null)).toBeNull();
    } finally {
      await taken.close();
    }
  });

  it('names what is broken, takes the rest, and ends with 1', async () => {
    const broken = copyOfData('0.62.0');
    const [conversation = ''] = readdirSync(join(broken, 'v1', 'events')).sort();
    const place = join(broken, 'v1', 'events', conversation);
    const [cut = '', other = ''] = readdirSync(place).sort();
    writeFileSync(join(place, cut), readFileSync(join(place, cut), 'utf8').slice(0, 40));
    writeFileSync(join(place, other), '{"no": "event"}');
    writeFileSync(join(broken, 'settings.json'), '{"llm_api_key": "sk-marked-half');
    writeFileSync(join(broken, '.keys'), 'no keys');
    const { status, said } = await world.take({ from: broken });
    expect(status).toBe(1);
    expect(counted(said, 'events')).toEqual([4, 0, 1, 2]);
    expect(counted(said, 'conversations')).toEqual([3, 0, 1, 0]);
    expect(counted(said, 'settings')).toEqual([0, 0, 0, 1]);
    expect(said).toContain(cut);
    expect(said).toContain('.keys');
    expect(said).not.toMatch(SECRETS);

    writeFileSync(join(broken, 'openhands.db'), 'no database '.repeat(200));
    const unreadable = await world.take({ from: broken });
    expect(unreadable.status).toBe(1);
    expect(unreadable.said).toContain('cannot be read as a SQLite database');
    rmSync(broken, { recursive: true });
  });

  it('brings no conversation back that was deleted here', async () => {
    const id = recordedId('c', '1.11.0', 2);
    await world.server.core.connection.pool.query(
      'update conversations set deleted_at = now() where id = $1',
      [id],
    );
    const { said } = await world.take({ from: source });
    expect(counted(said, 'conversations')).toEqual([0, 2, 2, 0]);
    expect(await world.get(`app-conversations?ids=${id}`)).toEqual([null]);
  });

  it.each([
    ['nothing', () => ({ from: '' }), /^Say what to take over: --from/],
    ['a directory that is not there', () => ({ from: '/nowhere/at/all' }), /is no directory: give --from/],
    [
      'a directory of something else',
      () => ({ from: recordedPath('1.11.0', 'wal', '..', '..') }),
      /holds nothing of a Python server/,
    ],
    ['its own data directory', (own: string) => ({ from: own }), /data directory of this Callboard/],
    [
      'another address',
      () => ({ from: 'mysql://localhost/openhands' }),
      /a directory or a postgresql:\/\/ address/,
    ],
    [
      'a second directory',
      (own: string) => ({ from: recordedPath('1.11.0', 'data'), files: own }),
      /^--files goes with/,
    ],
  ])('answers %s with one sentence', async (_, given, sentence) => {
    await expect(world.take(given(world.directory))).rejects.toThrow(sentence);
  });

  it('says which database does not answer, without its password', async () => {
    const { status, said } = await world.take({
      from: 'postgresql://someone:marked-secret@127.0.0.1:1/openhands',
    });
    expect(status).toBe(1);
    expect(said).toContain('127.0.0.1:1/openhands cannot be read');
    expect(said).not.toMatch(SECRETS);
  });
});
