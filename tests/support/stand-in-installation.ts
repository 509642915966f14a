/**
 * What Callboard's installer leaves on a machine, with a program of a few lines in place of the agent-server: it takes the same
 * flags, and waits. Its fork server, its copies and its boots are real processes.
 */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { required } from './environment.js';

/** The variable that holds the name of a file: while there is one, the system lets the fork server make no processes. */
export const NO_FORKS_WHILE = 'STAND_IN_NO_FORKS_WHILE';

/** The variable that holds the name of a file: while there is one, the import goes on. */
export const IMPORTS_WHILE = 'STAND_IN_IMPORTS_WHILE';

const PACKAGE: Record<string, string> = {
  '__init__.py': '',
  'sockets.py': '',
  'api.py': `
import os
import resource
import time

import openhands.agent_server.sockets

while os.path.exists(os.environ.get("${IMPORTS_WHILE}", "")):
    time.sleep(0.02)
fork = os.fork


def limited():
    """As the system refuses it: a limit that holds for all but the system's administrator, who is somebody else meanwhile."""
    if not os.path.exists(os.environ.get("${NO_FORKS_WHILE}", "")):
        return fork()
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    user = os.getuid()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
    if user == 0:
        os.setresuid(65534, 65534, 0)
    try:
        return fork()
    finally:
        if user == 0:
            os.setresuid(0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


os.fork = limited
`,
  '__main__.py': `
import importlib
import sys
import time

FLAGS = ("--extra-python-path", "--import-modules")


def main():
    print("serving", *sys.argv[1:], flush=True)
    time.sleep(600)


if __name__ == "__main__":
    directory, module = (sys.argv[sys.argv.index(flag) + 1] for flag in FLAGS)
    sys.path.insert(0, directory)
    importlib.import_module(module)
    del sys.argv[1:5]
    main()
`,
};

/** @returns the command, which the installer's conditions hold for */
export async function installStandIn(root: string): Promise<string> {
  const libraries = join(root, 'installed/venv/lib/python3/site-packages');
  const command = join(root, 'installed/bin/agent-server');
  const ours = join(libraries, 'openhands/agent_server');
  await mkdir(ours, { recursive: true });
  await mkdir(dirname(command));
  for (const [name, content] of Object.entries(PACKAGE)) await writeFile(join(ours, name), content);
  const python = join(dirname(required('AGENT_SERVER_COMMAND')), '../venv/bin/python');
  // -S: none of the libraries of the real one, which take seconds.
  const start = `PYTHONPATH='${libraries}' exec '${python}' -B -S -m openhands.agent_server "$@"`;
  await writeFile(command, `#!/bin/sh\n# Starts the agent-server that stands in.\n${start}\n`);
  await chmod(command, 0o755);
  return command;
}
