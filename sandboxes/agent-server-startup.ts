/**
 * What agent-servers that Callboard has installed import at their start (`agent-server-startup/callboard_startup.py`).
 * Other commands are run as they are: nothing is known of the flags they take.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { installedProgram } from './installed-program.js';

/** Flags that this needs, both of 1.34.0 (agent-server contract 3). */
const FLAGS = ['--extra-python-path', '--import-modules'] as const;
const MODULE = 'callboard_startup';
/** The module by which an agent-server serves no sandbox and can be copied (`fork-server.ts`). */
export const FORK_SERVER_MODULE = 'callboard_fork_server';
const DIRECTORY = fileURLToPath(new URL('agent-server-startup', import.meta.url));

/** Variable by which the module loads what a first conversation needs; it removes it. */
export const WARM_UP = 'CALLBOARD_WARM_UP';

/**
 * Further arguments for a command: none unless it is one of our installer's, with an agent-server of this machine that
 * knows the flags. A few small reads, so each launch sees what is installed by then.
 */
export async function startupArguments(
  argv: readonly string[],
  { directory = DIRECTORY, module = MODULE }: { directory?: string; module?: string } = {},
): Promise<string[]> {
  // The flag takes several directories, with colons between them.
  const program = directory.includes(':') ? null : await installedProgram(argv);
  if (program === null) return [];
  const text = await readFile(program, 'utf8');
  return FLAGS.every((flag) => text.includes(`"${flag}"`)) ? [FLAGS[0], directory, FLAGS[1], module] : [];
}
