/** The files of a build: written one by one, so that whoever runs the last one is not left without. */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { ROOMS } from './rooms.mjs';

/** Names what the last build made, one path a line. */
const LIST = '.callboard-files';

/** Every file below a directory. */
export function* files(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

/** Whoever reads the file gets the old one or the new one. */
export function replaceFile(path, contents) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}

/**
 * Removes what no build made, or an earlier one: a migration that was taken away would be carried out all the same. Pieces of
 * the program that the last build made stay until the next one, because a process that runs it may have yet to load some.
 *
 * @param {string} dist
 * @param {ReadonlySet<string>} made what this build made, relative to `dist`
 */
export function removeLeftovers(dist, made) {
  const list = join(dist, LIST);
  const before = new Set(existsSync(list) ? readFileSync(list, 'utf8').split('\n') : []);
  for (const file of files(dist)) {
    const path = relative(dist, file);
    const [room] = path.split('/');
    if (!ROOMS.includes(room) || made.has(path) || (room === 'cli' && before.has(path))) continue;
    rmSync(file);
  }
  replaceFile(list, [...made].join('\n'));
}
