/** What sandboxes are, and what runs in them. */
import { z } from 'zod';
import { SANDBOX_LIMIT_POLICIES } from '../../contract/sandbox.js';
import {
  commandLine,
  decimalNumber,
  flag,
  list,
  portRange,
  secret,
  setting,
  text,
  variables,
  webAddress,
  wholeNumber,
} from '../setting.js';

/** The agent-server this version was tested with. */
export const PINNED_AGENT_SERVER = '1.34.0';

export const sandboxes = z.object({
  runtime: setting(
    z
      .enum(['process', 'local', 'docker', 'remote'], 'must be process, docker or remote')
      .transform((name) => (name === 'local' ? 'process' : name))
      .default('process'),
    { env: ['RUNTIME'], about: 'What sandboxes are: `process` (also `local`), `docker` or `remote`.' },
  ),
  address: setting(text().default('127.0.0.1'), {
    env: ['SANDBOX_ADDRESS'],
    about: 'Host name or address on which process sandboxes listen and under which clients reach them.',
  }),
  // Below the ports that Linux gives to outgoing connections: one of those may take a port that was found free.
  portRange: setting(portRange().default({ first: 20_000, last: 27_999 }), {
    env: ['CALLBOARD_PORT_RANGE'],
    about: 'Ports of process sandboxes.',
    fallback: '`20000-27999`',
  }),
  startupTimeoutSeconds: setting(wholeNumber(1, 86_400).default(120), {
    env: ['SANDBOX_STARTUP_TIMEOUT_SECONDS'],
    about: 'How long a sandbox may take to answer, counted from its last sign of progress.',
  }),
  cloneTimeoutSeconds: setting(wholeNumber(1, 86_400).default(600), {
    env: ['CLONE_TIMEOUT_SECONDS'],
    about: 'How long cloning a repository may take.',
  }),
  setupScriptTimeoutSeconds: setting(wholeNumber(1, 86_400).default(600), {
    env: ['SETUP_SCRIPT_TIMEOUT_SECONDS'],
    about: 'How long `.openhands/setup.sh` may take.',
  }),
  warm: setting(wholeNumber(0, 100).nullable().default(null), {
    env: ['CALLBOARD_WARM_SANDBOXES'],
    about:
      'Sandboxes kept started for starts to come (see docs/sandboxes.md), some 280 MB of memory each; 0 keeps none.',
    fallback: '1 with `up`, otherwise 0',
  }),
  warmMax: setting(wholeNumber(0, 100).default(4), {
    env: ['CALLBOARD_WARM_SANDBOXES_MAX'],
    about:
      'Up to how many are kept while starts come faster than sandboxes boot; no more than the number above turns that off.',
  }),
  forkAgentServers: setting(flag().default(true), {
    env: ['CALLBOARD_FORK_AGENT_SERVERS'],
    about:
      'Whether agent-servers are copies of one process that has imported what they need, instead of booting each for itself (see docs/sandboxes.md); that process takes some 230 MB of memory, and each copy 200 MB less.',
  }),
  maxPerUser: setting(wholeNumber(0, 10_000).default(0), {
    env: ['CALLBOARD_MAX_SANDBOXES_PER_USER'],
    about: 'Running sandboxes per user; 0 is no limit.',
  }),
  limitPolicy: setting(
    z
      .enum(SANDBOX_LIMIT_POLICIES, `must be ${SANDBOX_LIMIT_POLICIES.join(' or ')}`)
      .default('pause-oldest-idle'),
    {
      env: ['CALLBOARD_SANDBOX_LIMIT_POLICY'],
      about:
        'What happens when a user has as many running sandboxes as allowed and wants one more: `pause-oldest-idle`, or `refuse`. One in which an agent works is never paused for it.',
    },
  ),
  idlePauseMinutes: setting(decimalNumber(0, 525_600).default(0), {
    env: ['CALLBOARD_IDLE_PAUSE_MINUTES'],
    about:
      'Minutes without a message or event after which a sandbox is paused; 0.5 is 30 seconds, 0 is never.',
  }),
});

export const docker = z.object({
  hostPort: setting(wholeNumber(1, 65_535).default(3000), {
    env: ['SANDBOX_HOST_PORT'],
    about: 'Port under which containers reach this server.',
  }),
  containerUrlPattern: setting(text().default('http://localhost:{port}'), {
    env: ['SANDBOX_CONTAINER_URL_PATTERN'],
    about: 'How clients reach a port of a container.',
  }),
  volumes: setting(list(z.string()).default([]), {
    env: ['SANDBOX_VOLUMES'],
    about: 'Volumes of every container, `host path:container path[:mode]`.',
  }),
  startupGraceSeconds: setting(wholeNumber(0, 3600).default(15), {
    env: ['SANDBOX_STARTUP_GRACE_SECONDS'],
    about: 'How long a container may fail its health check after its start.',
  }),
});

export const remote = z.object({
  apiUrl: setting(webAddress().nullable().default(null), {
    env: ['SANDBOX_REMOTE_RUNTIME_API_URL'],
    about: 'Address of the runtime service.',
  }),
  apiKey: setting(secret(), { env: ['SANDBOX_API_KEY'], about: 'Key of the runtime service.' }),
});

export const agentServer = z.object({
  version: setting(
    text()
      .regex(/^\d+\.\d+\.\d+[\w.+-]*$/, 'must be a version such as 1.34.0')
      .default(PINNED_AGENT_SERVER),
    {
      env: ['AGENT_SERVER_VERSION'],
      about: 'Version of the agent-server that is provisioned.',
    },
  ),
  command: setting(commandLine(), {
    env: ['AGENT_SERVER_COMMAND'],
    about: 'Command that starts an agent-server; its own flags are appended.',
    fallback: 'provisioned',
  }),
  imageRepository: setting(text().nullable().default(null), {
    env: ['AGENT_SERVER_IMAGE_REPOSITORY'],
    about: 'Image of the agent-server for docker and remote sandboxes.',
  }),
  imageTag: setting(text().nullable().default(null), {
    env: ['AGENT_SERVER_IMAGE_TAG'],
    about: 'Tag of that image.',
  }),
  environment: setting(variables().default({}), {
    env: ['OH_AGENT_SERVER_ENV'],
    about:
      'Variables for every agent-server, a JSON object. Those of this server that begin with `LLM_` or `LMNR_` are handed on too.',
  }),
});

export const llm = z.object({
  model: setting(text().nullable().default(null), {
    env: ['LLM_MODEL'],
    about: 'Model of users who have not chosen one, `provider/model`.',
  }),
  apiKey: setting(secret(), { env: ['LLM_API_KEY'], about: 'Key for that model.' }),
  baseUrl: setting(webAddress().nullable().default(null), {
    env: ['LLM_BASE_URL'],
    about: 'Address of its API.',
    fallback: "the provider's own",
  }),
});
