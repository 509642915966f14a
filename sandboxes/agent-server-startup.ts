/**
 * What agent-servers that Callboard has installed import at their start (`agent-server-startup/callboard_startup.py`).
 * Other commands are run as they are: nothing is known of the flags they take.
 */
import { open, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorCode } from './process-identity.js';

/** Flags that this needs, both of 1.34.0 (agent-server contract 3). */
const FLAGS = ['--extra-python-path', '--import-modules'] as const;
const MODULE = 'callboard_startup';
const DIRECTORY = fileURLToPath(new URL('agent-server-startup', import.meta.url));
/** How commands of `scripts/agent-server.sh` begin. */
const COMMAND_HEAD = '#!/bin/sh\n# Starts the agent-server ';

/** Variable by which the module loads what a first conversation needs; it removes it. */
export const WARM_UP = 'CALLBOARD_WARM_UP';

/**
 * Further arguments for a command: none unless it is one of our installer's, with an agent-server of this machine that
 * knows the flags. A few small reads, so each launch sees what is installed by then.
 */
export async function startupArguments(argv: readonly string[], directory = DIRECTORY): Promise<string[]> {
  const [command = ''] = argv;
  // The flag takes several directories, with colons between them.
  if (argv.length !== 1 || directory.includes(':')) return [];
  try {
    if (!(await beginsWith(command, COMMAND_HEAD))) return [];
    const program = await readFile(await programOf(dirname(dirname(command))), 'utf8');
    return FLAGS.every((flag) => program.includes(`"${flag}"`))
      ? [FLAGS[0], directory, FLAGS[1], MODULE]
      : [];
  } catch (error) {
    if (errorCode(error) === '') throw error;
    return []; // laid out in another way, as in a root of its own, which does not see our directory
  }
}

async function beginsWith(file: string, head: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(Buffer.byteLength(head)));
    return buffer.toString('utf8', 0, bytesRead) === head;
  } finally {
    await handle.close();
  }
}

/** The source of `python -m openhands.agent_server` in an environment that the installer has made. */
async function programOf(prefix: string): Promise<string> {
  const libraries = join(prefix, 'venv', 'lib');
  const python = (await readdir(libraries)).find((name) => name.startsWith('python3')) ?? '';
  return join(libraries, python, 'site-packages', 'openhands', 'agent_server', '__main__.py');
}
