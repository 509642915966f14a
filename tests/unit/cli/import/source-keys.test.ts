import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isSealed, openSealed, readSourceKeys } from '../../../../cli/import/source-keys.js';
import {
  recordedPath,
  RECORDED_VERSIONS,
  type RecordedVersion,
} from '../../../support/import/recorded-installation.js';

const sealedOf = (version: RecordedVersion): Record<string, string> =>
  JSON.parse(readFileSync(recordedPath(version, 'sealed.json'), 'utf8')) as Record<string, string>;

describe('values that a Python server encrypted', () => {
  it.each(RECORDED_VERSIONS)('are opened with the key file of %s', async (version) => {
    const keys = await readSourceKeys(recordedPath(version, 'data'), null);
    const { jwe = '' } = sealedOf(version);
    expect(isSealed(jwe)).toBe(true);
    expect(await openSealed(keys, jwe)).toBe(`marked-sealed-value-${version === '1.11.0' ? '111' : '062'}`);
  });

  it.each(['fernet', 'fernet_base64'])('are opened in the older form, too (%s)', async (form) => {
    const keys = await readSourceKeys(recordedPath('1.11.0', 'data'), null);
    const text = sealedOf('1.11.0')[form] ?? '';
    expect(isSealed(text)).toBe(true);
    expect(await openSealed(keys, text)).toBe('marked-fernet-value');
  });

  it('are not opened by the keys of another server', async () => {
    const keys = await readSourceKeys(recordedPath('0.62.0', 'data'), 'some secret');
    for (const text of Object.values(sealedOf('1.11.0'))) {
      await expect(openSealed(keys, text)).rejects.toThrow('set IMPORT_JWT_SECRET');
    }
  });

  it('are refused when they were damaged', async () => {
    const keys = await readSourceKeys(recordedPath('1.11.0', 'data'), null);
    const { jwe = '' } = sealedOf('1.11.0');
    const damaged = `${jwe.slice(0, -1)}${jwe.endsWith('A') ? 'B' : 'A'}`.replace(
      /\.(\w)(\w)([\w-]+)\.([\w-]+)$/,
      '.$2$1$3.$4',
    );
    await expect(openSealed(keys, damaged)).rejects.toThrow('damaged');
  });

  it.each(['sk-plain', 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln', 'a.b.c.d.e', 'gAAAAAB', ''])(
    '%j is plain',
    (text) => {
      expect(isSealed(text)).toBe(false);
    },
  );

  it('says that a key file is damaged, and nothing of what it holds', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'callboard-import-keys-'));
    writeFileSync(join(directory, '.keys'), '[{"id":"one","key":"the-secret-of-this-tes');
    await expect(readSourceKeys(directory, null)).rejects.toThrow(/^it is no list of keys$/);
    rmSync(directory, { recursive: true });
  });
});
