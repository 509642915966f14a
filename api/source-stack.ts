/** Stacks of the built program, told by its sources. */
import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A place in a piece of the program (`scripts/program-bundle.mjs`), as V8 writes it. */
const PLACE = /(file:\/\/\/[^\s()]+?\/cli\/[\w-]+\.js):(\d+):(\d+)/g;

/** Read when the first stack of a piece is told: most processes never need any. */
const maps = new Map<string, SourceMap | null>();

/**
 * The same stack with places as `api/app.ts:12:5`. Node does this by itself with `--enable-source-maps`, and takes a seventh
 * of a second and 16 MB for it in each process. What has no map stays as it is, as do stacks of sources.
 */
export function sourceStack(stack: string): string {
  return stack.replace(PLACE, (place, url: string, line: string, column: string) => {
    const file = fileURLToPath(url);
    const origin = mapOf(file)?.findOrigin(Number(line), Number(column));
    if (!origin || !('fileName' in origin)) return place;
    const project = resolve(dirname(file), '../..');
    const source = relative(project, resolve(dirname(file), origin.fileName));
    return `${source}:${origin.lineNumber}:${origin.columnNumber}`;
  });
}

function mapOf(file: string): SourceMap | null {
  let map = maps.get(file);
  if (map === undefined) {
    map = read(`${file}.map`);
    maps.set(file, map);
  }
  return map;
}

function read(path: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, 'utf8')) as SourceMapPayload);
  } catch {
    return null; // whatever is wrong with it, the error that is being told matters more than where it came from
  }
}
