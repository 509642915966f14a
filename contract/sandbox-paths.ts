/** Paths that clients name, brought to where they lie in a sandbox, and never out of its working directory. */

/** Where clients take a conversation to work, whatever the back-end really uses (contract 3.11). */
export const CLIENTS_DIRECTORY = '/workspace/project';

/** Longer paths are refused by every file system. */
const LONGEST_PATH = 4_096;

/**
 * The absolute path of what a client names: relative names begin at the project, `/workspace/project` stands for the
 * sandbox's working directory, and what leads out of that directory is refused (defect D8).
 * @param directories of the sandbox and, within it, of the conversation; absolute
 * @returns null for a path that leads out, or is none
 */
export function pathInSandbox(
  named: string,
  directories: { working: string; project: string },
): string | null {
  if (named.length > LONGEST_PATH || named.includes('\0')) return null;
  const working = normalized(directories.working);
  const path = normalized(absolute(named, working, directories.project));
  return isWithin(path, working) ? path : null;
}

function absolute(named: string, working: string, project: string): string {
  if (!named.startsWith('/')) return `${project}/${named}`;
  const path = normalized(named);
  if (isWithin(path, working) || !isWithin(path, CLIENTS_DIRECTORY)) return path;
  return `${working}${path.slice(CLIENTS_DIRECTORY.length)}`;
}

const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);

/** Without `.`, `..`, doubled slashes and one at the end. */
function normalized(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
