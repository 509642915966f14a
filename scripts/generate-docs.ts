/** Writes the pages of docs/ that are made from code. `--check` only says whether they are current. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { configurationDocument } from '../config/render.js';
import { securityDocument } from './authorization-table.js';
import { compatibilityDocument } from './generate-compatibility.js';
import { statesDocument } from './generate-states.js';

const PAGES: Record<string, () => string> = {
  'docs/compatibility.md': compatibilityDocument,
  'docs/configuration.md': configurationDocument,
  'docs/security.md': securityDocument,
  'docs/states.md': statesDocument,
};

/** Content of every generated page as it has to be, by its path in the project. */
export async function generatedPages(): Promise<Map<string, string>> {
  const pages = new Map<string, string>();
  for (const [path, make] of Object.entries(PAGES)) {
    const file = absolute(path);
    pages.set(path, await format(make(), { ...(await resolveConfig(file)), parser: 'markdown' }));
  }
  return pages;
}

/** Paths of the pages that differ from what the code says. */
export async function outdatedPages(): Promise<string[]> {
  const outdated: string[] = [];
  for (const [path, content] of await generatedPages()) {
    const present = await readFile(absolute(path), 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
    if (present !== content) outdated.push(path);
  }
  return outdated;
}

const absolute = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    const outdated = await outdatedPages();
    for (const path of outdated) console.error(`${path} is not current: run \`npm run docs\`.`);
    process.exitCode = outdated.length > 0 ? 1 : 0;
  } else {
    for (const [path, content] of await generatedPages()) await writeFile(absolute(path), content);
  }
}
