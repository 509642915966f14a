/**
 * A light agent-server: speaks what Callboard uses of the agent-server's HTTP contract, webhooks with their retries
 * included, and boots in a tenth of a second instead of five. Its agent needs no model. For volume, not for truth: what
 * it is to be like is proven with the real one.
 *
 * Reads the variables of the real one; of its own it has `LIGHT_LEDGER_DIRECTORY` (see `ledger.ts`), `LIGHT_BOOT_MS`,
 * `LIGHT_LATENCY_MS`, `LIGHT_STEPS` and `LIGHT_STEP_MS`: longest boot and waits, steps of a run.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bashRoutes } from './bash.js';
import { conversationRoutes } from './conversations.js';
import { createHttpServer, ok, type LightRoute } from './http.js';
import { hesitate, openLedger } from './ledger.js';
import { createWebhookPoster } from './webhooks.js';
import { workspaceRoutes } from './workspace.js';

const { env } = process;
const { values: flags } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '8000' } },
});
const number = (name: string, fallback: number): number => Number(env[name] ?? fallback);
const startedAt = Date.now();

interface Configuration {
  session_api_keys?: string[];
}
const file = env['OPENHANDS_AGENT_SERVER_CONFIG_PATH'];
const configuration = (file === undefined ? {} : JSON.parse(readFileSync(file, 'utf8'))) as Configuration;
const keys = configuration.session_api_keys ?? [env['SESSION_API_KEY'] ?? ''].filter((key) => key !== '');

const ledger = openLedger(env['LIGHT_LEDGER_DIRECTORY'], env['CALLBOARD_SANDBOX_ID'] ?? 'none');
const poster = createWebhookPoster({
  baseUrl: env['OH_WEBHOOKS_0_BASE_URL']?.replace(/\/$/, ''),
  retries: number('OH_WEBHOOKS_0_NUM_RETRIES', 3),
  retryDelayMs: number('OH_WEBHOOKS_0_RETRY_DELAY', 5) * 1000,
  key: keys[0],
  ledger,
});

const seconds = (): number => Math.floor((Date.now() - startedAt) / 1000);
const statusRoutes: LightRoute[] = [
  { method: 'GET', pattern: /^\/(?:alive|health)$/, open: true, handle: () => ok({ status: 'ok' }) },
  { method: 'GET', pattern: /^\/ready$/, open: true, handle: () => ok({ status: 'ready' }) },
  {
    method: 'GET',
    pattern: /^\/(?:server_info)?$/,
    open: true,
    handle: () =>
      ok({
        uptime: seconds(),
        idle_time: 0,
        title: 'Light agent-server',
        version: '1.34.0',
        sdk_version: '1.34.0',
        tools_version: '1.34.0',
        usable_tools: ['file_editor', 'task_tracker', 'terminal'],
      }),
  },
];

await hesitate(number('LIGHT_BOOT_MS', 0));
const server = createHttpServer(
  [
    ...statusRoutes,
    ...conversationRoutes({
      directory: env['OH_CONVERSATIONS_PATH'] ?? 'workspace/conversations',
      latencyMs: number('LIGHT_LATENCY_MS', 0),
      steps: number('LIGHT_STEPS', 3),
      stepMs: number('LIGHT_STEP_MS', 20),
      poster,
      ledger,
    }),
    ...bashRoutes(env['OH_BASH_EVENTS_DIR'] ?? 'workspace/bash_events'),
    ...workspaceRoutes(),
  ],
  keys,
);
server.on('error', (error: NodeJS.ErrnoException) => {
  process.stderr.write(`ERROR: ${error.code === 'EADDRINUSE' ? 'address already in use' : error.message}\n`);
  process.exit(1);
});
server.listen(Number(flags.port), flags.host, () => {
  ledger.write({ what: 'boot' });
  process.stdout.write(`listening on http://${flags.host}:${flags.port}\n`);
});
process.on('SIGTERM', () => process.exit(143));
