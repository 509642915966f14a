/**
 * A program that launches one sandbox, for tests that kill it while it does. Its argument is JSON:
 * `{ root, command, launch, next, forkAgentServers }`. Prints `launching` before, and the handle after. Launches `next`, if there
 * is one, when it is sent SIGUSR2.
 */
import { join } from 'node:path';
import type { SandboxLaunch } from '../../sandboxes/backend.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';

const { root, command, launch, next, forkAgentServers } = JSON.parse(process.argv[2] ?? '') as {
  root: string;
  command: string;
  launch: SandboxLaunch;
  next?: SandboxLaunch;
  forkAgentServers?: boolean;
};
const backend = createProcessBackend({
  rootDirectory: join(root, 'sandboxes'),
  command,
  address: '127.0.0.1',
  logger: { info: () => undefined, warn: () => undefined },
  ...(forkAgentServers === undefined ? {} : { forkAgentServers, forksFirst: true }),
});
process.on('SIGUSR2', () => {
  if (next) void backend.launch(next);
});
process.stdout.write('launching\n');
const handle = await backend.launch(launch);
process.stdout.write(`${JSON.stringify(handle)}\n`);
// Stays until it is killed, as a worker would.
setInterval(() => undefined, 60_000);
