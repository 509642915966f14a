import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyRingError, loadMasterKeys } from '../../../identity/keys.js';
import { Vault } from '../../../identity/vault.js';

let dataDirectory: string;
beforeEach(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), 'callboard-keys-'));
});
afterEach(() => rm(dataDirectory, { recursive: true, force: true }));

const load = (secret: string | null = null) => loadMasterKeys({ secret, dataDirectory });

describe('the key ring', () => {
  it('is made once, readable by its owner alone, and stays the same', async () => {
    const first = await load();
    expect(first).toHaveLength(1);
    expect(await load()).toEqual(first);
    expect((await stat(join(dataDirectory, '.keys'))).mode & 0o777).toBe(0o600);
  });

  it('is one ring when many processes make it at once, and leaves no draft behind', async () => {
    const rings = await Promise.all(Array.from({ length: 20 }, () => load()));
    expect(new Set(rings.map(([key]) => key!.id)).size).toBe(1);
    expect(await readdir(dataDirectory)).toEqual(['.keys']);
  });

  it('opens with an older key what was sealed before a newer one came', async () => {
    const old = 'o'.repeat(40);
    const sealed = await new Vault(await load(old)).seal('test', 'value');
    const rotated = new Vault(await load(JSON.stringify(['n'.repeat(40), old])));
    expect(await rotated.open('test', sealed)).toBe('value');
    const [newest] = await load(JSON.stringify(['n'.repeat(40), old]));
    expect((await load('n'.repeat(40)))[0]!.id).toBe(newest!.id);
  });

  it('refuses a short key without showing it', async () => {
    await expect(load('hunter2')).rejects.toThrow(KeyRingError);
    await expect(load('hunter2')).rejects.toThrow(expect.not.stringContaining('hunter2') as string);
    await expect(load('hunter2')).rejects.toThrow('32 or more');
  });

  it('is never made anew over a broken file', async () => {
    const path = join(dataDirectory, '.keys');
    await writeFile(path, '[{"id": "a", "key": "hunter2');
    await expect(load()).rejects.toThrow(/Restore it from a backup/);
    expect(await readFile(path, 'utf8')).toContain('hunter2');
    await writeFile(path, '');
    await expect(load()).rejects.toThrow(KeyRingError);
  });

  it('says what to do when the data directory is none', async () => {
    await rm(dataDirectory, { recursive: true });
    await writeFile(dataDirectory, '');
    await expect(load()).rejects.toThrow(KeyRingError);
  });
});
