/**
 * The environment of an agent-server that runs as a process of this host. It is built from nothing: what
 * Callboard itself was started with (`DATABASE_URL`, `JWT_SECRET`, other `OH_*`) never reaches a sandbox.
 */
import { userInfo } from 'node:os';
import type { SandboxLaunch } from './backend.js';
import { SANDBOX_MARK } from './process-tree.js';
import type { SandboxPaths } from './sandbox-paths.js';

/** Passed through from our own environment where present. */
const PASSED_THROUGH = [
  'PATH',
  'LANG',
  'LC_ALL',
  'TERM',
  'SHELL',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'NODE_EXTRA_CA_CERTS',
  'PIP_CERT',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'all_proxy',
];

/** Variables that carry the secrets of a launch in other set-ups; here they travel in the configuration file. */
const SECRET_NAMES = /^(SESSION_API_KEY|OH_SECRET_KEY|OH_SESSION_API_KEYS(_.*)?)$/;

/**
 * File descriptor of the configuration file. Opened by name through /proc, an unlinked file can be read as
 * often as the agent-server likes, and no name of it is left in any directory.
 */
export const CONFIGURATION_FD = 8;

/** What may be changed for a launch (`OH_AGENT_SERVER_ENV`, `LLM_*`), and what it is otherwise. */
const DEFAULTS: Record<string, string> = {
  LANG: 'C.UTF-8',
  TERM: 'xterm-256color',
  /** No binary, and no need: an editor is not part of a process sandbox. */
  OH_ENABLE_VSCODE: '0',
  /** Preloading costs every boot a second and saves the first conversation a quarter of one. */
  OH_PRELOAD_TOOLS: '0',
  /** No download of a price table at start. */
  LITELLM_LOCAL_MODEL_COST_MAP: 'True',
  OPENHANDS_SUPPRESS_BANNER: '1',
  /**
   * One line per message. The other form breaks lines at 80 columns, in the middle of what is searched for or
   * masked, and spends seconds of processor time on painting a long trace.
   */
  LOG_JSON: '1',
  /**
   * The end of a run waits for the delivery of its last events, one after the other, so this bounds how long
   * a receiver that is away holds it up (about four times as long); a restart of the receiver must fit into
   * it: 11 attempts within 10 s. What is not delivered then comes with the conversation's next event, or is
   * fetched by `events/search`.
   */
  OH_WEBHOOKS_0_NUM_RETRIES: '10',
  OH_WEBHOOKS_0_RETRY_DELAY: '1',
};

/** Without secrets; those of the launch are in `configurationOf`. */
export const environmentOf = (
  launch: SandboxLaunch,
  paths: SandboxPaths,
  own: NodeJS.ProcessEnv,
): Record<string, string> => ({
  ...sharedEnvironment(launch, own),
  ...sandboxEnvironment(launch.sandboxId, paths),
});

/** What all sandboxes of this host have in common. */
export type SharedLaunch = Pick<SandboxLaunch, 'environment' | 'webhookBaseUrl'>;

/** The part of the environment that is the same in all sandboxes of this host. */
export function sharedEnvironment(
  { environment: given, webhookBaseUrl }: SharedLaunch,
  own: NodeJS.ProcessEnv,
): Record<string, string> {
  const { username } = userInfo();
  const environment: Record<string, string> = { ...DEFAULTS };
  for (const name of PASSED_THROUGH) if (own[name]) environment[name] = own[name];
  Object.assign(environment, proxyExceptions(own));
  for (const [name, value] of Object.entries(given)) {
    if (!SECRET_NAMES.test(name)) environment[name] = value;
  }
  // What the sandbox's integrity depends on comes last.
  return {
    ...environment,
    USER: username,
    LOGNAME: username,
    /** Event times are naive local times: make them UTC. */
    TZ: 'UTC',
    OH_WEBHOOKS_0_BASE_URL: webhookBaseUrl,
    /** Larger buffers lose, stall and delay events. */
    OH_WEBHOOKS_0_EVENT_BUFFER_SIZE: '1',
    /** One server per directory is our own guarantee; a lease would only hide conversations after a crash. */
    OH_LEASE_TTL_SECONDS: '0',
    OPENHANDS_AGENT_SERVER_CONFIG_PATH: `/proc/self/fd/${CONFIGURATION_FD}`,
  };
}

/** The part that is one sandbox's own: its mark, and its directories. */
export const sandboxEnvironment = (sandboxId: string, paths: SandboxPaths): Record<string, string> => ({
  HOME: paths.home,
  [SANDBOX_MARK]: sandboxId,
  /** Two servers with one such directory kill each other's terminals. */
  TMUX_TMPDIR: paths.terminals,
  OH_CONVERSATIONS_PATH: paths.conversations,
  OH_BASH_EVENTS_DIR: paths.bashEvents,
  OH_WORKSPACE_PATH: paths.project,
  OH_PERSISTENCE_DIR: paths.persistence,
  /** A command that runs in a root of its own makes this directory visible there. */
  AGENT_SERVER_BIND: paths.directory,
});

/**
 * The secrets, as the agent-server's JSON configuration. In its environment they could be read by the agent:
 * `OH_SECRET_KEY` by `env` in every terminal, and both in /proc/<pid>/environ.
 */
export const configurationOf = (launch: SandboxLaunch): string =>
  JSON.stringify({ session_api_keys: [launch.sessionApiKey], secret_key: launch.secretKey });

/** A proxy for the outside must not be asked for our own webhook receiver. */
function proxyExceptions(own: NodeJS.ProcessEnv): Record<string, string> {
  const given = own['NO_PROXY'] ?? own['no_proxy'] ?? '';
  const list = [...new Set([...given.split(','), 'localhost', '127.0.0.1', '::1'])]
    .filter((host) => host !== '')
    .join(',');
  return { NO_PROXY: list, no_proxy: list };
}
