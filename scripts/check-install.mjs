/**
 * Ends with status 0 when node_modules holds exactly the versions of package-lock.json.
 * npm keeps a record of what it installed in node_modules/.package-lock.json.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;

try {
  const wanted = read('package-lock.json');
  const found = read('node_modules/.package-lock.json');
  const missing = Object.entries(wanted).some(
    // Optional packages are those of other platforms.
    ([path, { version, optional }]) =>
      path !== '' && !optional && (found[path]?.version !== version || !existsSync(join(root, path))),
  );
  const extra = Object.keys(found).some((path) => !(path in wanted));
  process.exitCode = missing || extra ? 1 : 0;
} catch (err) {
  if (err.code !== 'ENOENT' && !(err instanceof SyntaxError)) throw err;
  process.exitCode = 1;
}
