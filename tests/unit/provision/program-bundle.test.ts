import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sourceStack } from '../../../api/source-stack.js';
import { removeLeftovers } from '../../../scripts/build-files.mjs';
import { bundleProgram } from '../../../scripts/program-bundle.mjs';

let root: string;
let dist: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'callboard-bundle-')));
  dist = join(root, 'dist');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, contents: string | Uint8Array = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), contents);
}

async function build(): Promise<void> {
  for (const { path, contents } of await bundleProgram(root, dist)) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
}

const run = () => spawnSync(process.execPath, [join(dist, 'cli/main.js')], { encoding: 'utf8' });

describe('the built program', () => {
  it('finds the files that lie beside its sources, wherever the pieces are', async () => {
    write(
      'cli/main.ts',
      `import { note } from '../api/note.js';
       console.log(note(), import.meta.filename.endsWith('dist/cli/main.js'));
       const { later } = await import('../db/deep/later.js');
       console.log(later());`,
    );
    const reader = (name: string, file: string): string =>
      `import { readFileSync } from 'node:fs';
       export const ${name} = (): string => readFileSync(new URL('${file}', import.meta.url), 'utf8');`;
    write('api/note.ts', reader('note', './note.txt'));
    write('db/deep/later.ts', reader('later', '../../contract/later.txt'));
    write('dist/api/note.txt', 'beside');
    write('dist/contract/later.txt', 'in another room');
    await build();
    expect(run()).toMatchObject({ status: 0, stderr: '', stdout: 'beside true\nin another room\n' });
  });

  it('is not built from a source that asks where it is in a way that pieces cannot answer', async () => {
    write('cli/main.ts', 'console.log(import.meta.dirname);');
    await expect(build()).rejects.toThrow(
      'cli/main.ts:1:0: ERROR: [plugin: places] a built source knows import.meta.url',
    );
  });

  it('has stacks that can be told by its sources', async () => {
    write(
      'cli/main.ts',
      `import { fail } from '../api/fail.js';\n\ntry {\n  fail();\n} catch (err) {\n  console.log(err.stack);\n}\n`,
    );
    write(
      'api/fail.ts',
      `interface Told { text: string }\n\nexport function fail(): never {\n  const told: Told = { text: 'on purpose' };\n  throw new Error(told.text);\n}\n`,
    );
    await build();
    const stack = run().stdout;
    expect(stack).toContain('dist/cli/main.js:');
    expect(sourceStack(stack)).toMatch(
      /^Error: on purpose\n +at fail \(api\/fail\.ts:5:9\)\n +at cli\/main\.ts:4:3\n/,
    );
  });

  it('tells a stack as it is where there is no map, or nothing of the program in it', async () => {
    write('cli/main.ts', `console.log(new Error('plain').stack);`);
    await build();
    const stack = run().stdout;
    rmSync(join(dist, 'cli/main.js.map'));
    const other = join(root, 'other');
    expect(sourceStack(stack.replaceAll(root, other))).toBe(stack.replaceAll(root, other));
    expect(sourceStack(stack)).toBe(stack);
    write('broken/cli/main.js.map', '{"version":3,"sou');
    const broken = stack.replaceAll(dist, join(root, 'broken'));
    expect(sourceStack(broken)).toBe(broken);
    const own = new Error('here').stack ?? '';
    expect(sourceStack(own)).toBe(own);
  });

  it('keeps the pieces of the build before for those who still run it, and nothing older', () => {
    const made = (...paths: string[]) => {
      for (const path of paths) write(join('dist', path));
      removeLeftovers(dist, new Set(paths));
      return readdirSync(join(dist, 'cli')).sort();
    };
    write('dist/db/migrations/0001_gone.sql');
    write('dist/workflow-bundle.js');
    expect(made('cli/main.js', 'cli/piece-A.js')).toEqual(['main.js', 'piece-A.js']);
    expect(existsSync(join(dist, 'db/migrations/0001_gone.sql'))).toBe(false);
    expect(made('cli/main.js', 'cli/piece-B.js')).toEqual(['main.js', 'piece-A.js', 'piece-B.js']);
    expect(made('cli/main.js', 'cli/piece-C.js')).toEqual(['main.js', 'piece-B.js', 'piece-C.js']);
    expect(existsSync(join(dist, 'workflow-bundle.js'))).toBe(true);
  });
});
