/** Tells agent-servers that Callboard's own installer has put on this machine (`scripts/agent-server.sh`) from others. */
import { access, open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from './process-identity.js';

/** How the installer's commands begin. */
const COMMAND_HEAD = '#!/bin/sh\n# Starts the agent-server ';

/**
 * The source of `python -m openhands.agent_server` that a command runs. Null for commands of others, with arguments, and
 * for an agent-server in a root of its own, which does not see our files.
 */
export async function installedProgram(argv: readonly string[]): Promise<string | null> {
  const [command = ''] = argv;
  if (argv.length !== 1) return null;
  try {
    if (!(await beginsWith(command, COMMAND_HEAD))) return null;
    const libraries = join(dirname(dirname(command)), 'venv', 'lib');
    const python = (await readdir(libraries)).find((name) => name.startsWith('python3')) ?? '';
    const program = join(libraries, python, 'site-packages', 'openhands', 'agent_server', '__main__.py');
    await access(program);
    return program;
  } catch (error) {
    if (errorCode(error) === '') throw error;
    return null; // not there, or laid out in another way
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
