/**
 * One process that is the agent-server of all sandboxes of a measurement: what is measured with it is what Callboard
 * costs, and not what agent-servers cost. The process of each sandbox writes one line to the pipe and sleeps; its server
 * listens here until it is gone.
 *
 * Made into plain JavaScript and put beside the light agent-server's own files: `node host.js <path of the pipe>`.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { bashRoutes } from '../../tests/support/light-agent-server/bash.js';
import { conversationRoutes } from '../../tests/support/light-agent-server/conversations.js';
import { createHttpServer, ok } from '../../tests/support/light-agent-server/http.js';
import { openLedger } from '../../tests/support/light-agent-server/ledger.js';
import { createWebhookPoster } from '../../tests/support/light-agent-server/webhooks.js';
import { workspaceRoutes } from '../../tests/support/light-agent-server/workspace.js';

/** What the process of a sandbox writes down, one field beside the other. */
interface Registration {
  pid: number;
  port: number;
  conversations: string;
  bashEvents: string;
  webhooks: string;
  keys: string[];
}

/** How often the processes of sandboxes are looked for, in milliseconds. */
const LOOK_MS = 200;

function registrationOf(line: string): Registration {
  const [pid = '', port = '', conversations = '', bashEvents = '', webhooks = '', ...configuration] =
    line.split('\t');
  const { session_api_keys: keys = [] } = JSON.parse(configuration.join('\t')) as {
    session_api_keys?: string[];
  };
  return { pid: Number(pid), port: Number(port), conversations, bashEvents, webhooks, keys };
}

function serve({ pid, port, conversations, bashEvents, webhooks, keys }: Registration): void {
  const ledger = openLedger(undefined, String(pid));
  const status = {
    uptime: 1,
    idle_time: 0,
    title: 'Light agent-server',
    version: '1.34.0',
    sdk_version: '1.34.0',
    tools_version: '1.34.0',
    usable_tools: ['file_editor', 'task_tracker', 'terminal'],
  };
  const server = createHttpServer(
    [
      { method: 'GET', pattern: /^\/(?:alive|health)$/, open: true, handle: () => ok({ status: 'ok' }) },
      { method: 'GET', pattern: /^\/ready$/, open: true, handle: () => ok({ status: 'ready' }) },
      { method: 'GET', pattern: /^\/(?:server_info)?$/, open: true, handle: () => ok(status) },
      ...conversationRoutes({
        directory: conversations,
        latencyMs: 0,
        steps: 0,
        stepMs: 0,
        poster: createWebhookPoster({
          // The Python server tells sandboxes that are processes nothing of webhooks.
          baseUrl: webhooks === '' ? undefined : webhooks.replace(/\/$/, ''),
          retries: 3,
          retryDelayMs: 1_000,
          key: keys[0],
          ledger,
        }),
        ledger,
      }),
      ...bashRoutes(bashEvents),
      ...workspaceRoutes(),
    ],
    keys,
  );
  // As an agent-server ends whose port is taken.
  server.once('error', () => lives(pid) && process.kill(pid));
  server.listen(port, '127.0.0.1');
  const looking = setInterval(() => {
    if (lives(pid)) return;
    clearInterval(looking);
    server.close();
    server.closeAllConnections();
  }, LOOK_MS);
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // no such process any more
  }
}

const [pipe = ''] = process.argv.slice(2);
// Opened for writing as well: the pipe stays open however many sandboxes come and go.
const lines = createInterface({ input: createReadStream(pipe, { flags: 'r+' }) });
lines.on('line', (line) => serve(registrationOf(line)));
process.stdout.write('serving\n');
