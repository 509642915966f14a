import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of this installation's `package.json`, from the sources and from `dist/` alike. */
export function projectRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    if (dir === dirname(dir))
      throw new Error('no package.json above the program: the installation is incomplete');
    dir = dirname(dir);
  }
  return dir;
}
