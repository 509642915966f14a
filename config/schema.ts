/** Every setting of Callboard, in the sections of `config.toml`. */
import { z } from 'zod';
import { checkAuth } from './auth-rules.js';
import { SANDBOX_LIMIT_POLICIES } from '../contract/sandbox.js';
import {
  allowedHost,
  commandLine,
  databaseAddress,
  decimalNumber,
  flag,
  issuerAddress,
  list,
  origin,
  portRange,
  secret,
  setting,
  text,
  variables,
  webAddress,
  wholeNumber,
} from './setting.js';

/** The agent-server this version was tested with. */
export const PINNED_AGENT_SERVER = '1.34.0';

const data = z.object({
  directory: setting(text().nullable().default(null), {
    env: ['OH_PERSISTENCE_DIR', 'FILE_STORE_PATH'],
    about: 'Directory of everything Callboard keeps: events, keys, the embedded engines, sandboxes.',
    fallback: '`~/.callboard`',
  }),
  hostDirectory: setting(text().nullable().default(null), {
    env: ['CALLBOARD_HOST_DIR'],
    about:
      'What belongs to this machine alone: its host id and its sandboxes. Never shared between machines.',
    fallback: '`<data directory>/host`',
  }),
  skillsDirectory: setting(text().nullable().default(null), {
    env: ['CALLBOARD_SKILLS_DIR'],
    about: 'Skills that every conversation gets.',
    fallback: '`<data directory>/skills`',
  }),
});

const server = z.object({
  host: setting(text().default('127.0.0.1'), { env: ['HOST'], about: 'Address the API listens on.' }),
  port: setting(wholeNumber(0, 65_535).default(3000), {
    env: ['PORT'],
    about: 'Port the API listens on; 0 takes a free one.',
  }),
  publicUrl: setting(webAddress().nullable().default(null), {
    env: ['OH_WEB_URL', 'WEB_HOST'],
    about:
      'Public address of the API, without path or with one; https where no scheme is given. With it, agents fetch git tokens when they need them instead of being handed copies.',
  }),
  internalUrl: setting(webAddress().nullable().default(null), {
    env: ['CALLBOARD_INTERNAL_URL'],
    about: 'Address under which sandboxes and workers reach the API, where it is not on the same machine.',
    fallback: '`http://127.0.0.1:<port>`',
  }),
  corsOrigins: setting(list(origin()).default([]), {
    env: ['OH_PERMITTED_CORS_ORIGINS_*', 'PERMITTED_CORS_ORIGINS'],
    about: 'Web pages that may call the API with credentials.',
    fallback: '`localhost` and `127.0.0.1` on any port',
  }),
  frontendDirectory: setting(text().nullable().default(null), {
    env: ['FRONTEND_DIR'],
    about:
      'A built OpenHands frontend (the directory with its `index.html`) to serve on the same address: see [running](running.md#with-the-web-client).',
    fallback: 'no web client is served',
  }),
  instanceKey: setting(secret(), {
    env: ['SESSION_API_KEY'],
    about: 'When set, callers must send it as `X-Session-API-Key` or `Authorization: Bearer`.',
  }),
  serviceKey: setting(secret(), {
    env: ['AUTOMATIONS_SERVICE_API_KEY'],
    about: 'Shared secret of the service API; without it that API answers 503.',
  }),
  bodyLimitBytes: setting(wholeNumber(1024, 1_073_741_824).default(16_777_216), {
    env: ['CALLBOARD_BODY_LIMIT_BYTES'],
    about: 'Largest request body; pasted images count.',
  }),
  webhookBodyLimitBytes: setting(wholeNumber(1024, 1_073_741_824).default(134_217_728), {
    env: ['CALLBOARD_WEBHOOK_BODY_LIMIT_BYTES'],
    about: 'Largest batch of events an agent-server may post.',
  }),
  shutdownGraceSeconds: setting(wholeNumber(0, 3_600).default(20), {
    env: ['CALLBOARD_SHUTDOWN_GRACE_SECONDS'],
    about:
      'How long requests and steps of starts under way may take when a process is asked to end. What is not done by then is cut, or handed over to another worker.',
  }),
  downloadMaxEvents: setting(wholeNumber(0, 100_000_000).default(10_000), {
    env: ['CALLBOARD_DOWNLOAD_MAX_EVENTS'],
    about: 'Most events of a conversation that can be downloaded as an archive; 0 sets no limit.',
  }),
  webhooksInHand: setting(wholeNumber(2, 100_000).default(64), {
    env: ['CALLBOARD_WEBHOOKS_IN_HAND'],
    about: 'Webhooks that one process works on at a time; further ones are answered 503 and sent again.',
  }),
  webhookBytesInHand: setting(wholeNumber(1024, 17_179_869_184).default(67_108_864), {
    env: ['CALLBOARD_WEBHOOK_BYTES_IN_HAND'],
    about:
      'Bytes of webhooks that one process holds while disk or database are slow; further ones are answered 503 and sent again.',
  }),
});

const database = z.object({
  url: setting(databaseAddress(), {
    env: ['DATABASE_URL'],
    about: 'PostgreSQL 14 or later, as `postgres://user:password@host:port/database`.',
    fallback: 'embedded, under the data directory',
  }),
  maxConnections: setting(wholeNumber(2, 500).default(20), {
    env: ['CALLBOARD_DATABASE_CONNECTIONS'],
    about: 'Most connections one process keeps open.',
  }),
  allowNewerSchema: setting(flag().default(false), {
    env: ['CALLBOARD_ALLOW_NEWER_SCHEMA'],
    about: 'Whether to start on a database that a later version has upgraded, for going back by one version.',
  }),
});

const temporal = z.object({
  address: setting(text().nullable().default(null), {
    env: ['TEMPORAL_ADDRESS'],
    about: 'Temporal frontend, `host:port`.',
    fallback: 'embedded development server',
  }),
  namespace: setting(text().default('default'), {
    env: ['TEMPORAL_NAMESPACE'],
    about: 'Temporal namespace.',
  }),
  deploymentName: setting(text().nullable().default(null), {
    env: ['TEMPORAL_DEPLOYMENT_NAME'],
    about:
      'Name of the worker deployment. With it and a build id, starts stay with the version that began them: see [upgrading](upgrading.md).',
  }),
  buildId: setting(text().nullable().default(null), {
    env: ['TEMPORAL_WORKER_BUILD_ID'],
    about: 'Build id of this worker within its deployment.',
  }),
  workflowStackTraces: setting(flag().default(false), {
    env: ['CALLBOARD_WORKFLOW_STACK_TRACES'],
    about:
      'Whether Temporal can show the stack of an open workflow, and faults in workflow code their lines. Costs workflows four times the processor time.',
  }),
  apiKey: setting(secret(), { env: ['TEMPORAL_API_KEY'], about: 'Temporal API key; turns TLS on.' }),
  tls: setting(flag().default(false), { env: ['TEMPORAL_TLS'], about: 'Whether to speak TLS to Temporal.' }),
  tlsServerName: setting(text().nullable().default(null), {
    env: ['TEMPORAL_TLS_SERVER_NAME'],
    about: 'Name expected in the certificate of Temporal, where it differs from the address.',
  }),
  tlsServerCaCertPath: setting(text().nullable().default(null), {
    env: ['TEMPORAL_TLS_SERVER_CA_CERT_PATH'],
    about: 'Certificate authority of Temporal, a PEM file.',
  }),
  tlsClientCertPath: setting(text().nullable().default(null), {
    env: ['TEMPORAL_TLS_CLIENT_CERT_PATH'],
    about: 'Client certificate, a PEM file.',
  }),
  tlsClientKeyPath: setting(text().nullable().default(null), {
    env: ['TEMPORAL_TLS_CLIENT_KEY_PATH'],
    about: 'Key of the client certificate, a PEM file.',
  }),
  cli: setting(text().nullable().default(null), {
    env: ['TEMPORAL_CLI'],
    about: 'Path of the Temporal command line program, which holds the embedded server.',
    fallback: 'found or fetched',
  }),
  uiPort: setting(wholeNumber(0, 65_535).default(8233), {
    env: ['TEMPORAL_UI_PORT'],
    about: 'Port of the embedded Temporal UI.',
  }),
  operatorKey: setting(secret(), {
    env: ['CALLBOARD_OPERATOR_KEY'],
    about: 'Lets operators decrypt payloads in the Temporal UI and command line; without it nobody can.',
  }),
});

const sandboxes = z.object({
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
  portRange: setting(portRange().default({ first: 41_000, last: 48_999 }), {
    env: ['CALLBOARD_PORT_RANGE'],
    about: 'Ports of process sandboxes.',
    fallback: '`41000-48999`',
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

const gateway = z.object({
  enabled: setting(flag().default(true), {
    env: ['CALLBOARD_GATEWAY'],
    about:
      'Whether clients reach agent-servers through the API, below its own address, instead of on ports of their own.',
  }),
  silenceSeconds: setting(wholeNumber(1, 86_400).default(900), {
    env: ['CALLBOARD_GATEWAY_SILENCE_SECONDS'],
    about:
      'How long an agent-server may be silent during a request; some calls wait for a running tool call.',
  }),
  socketsPerSandbox: setting(wholeNumber(1, 10_000).default(100), {
    env: ['CALLBOARD_SOCKETS_PER_SANDBOX'],
    about: 'Most sockets that one API process opens to one sandbox.',
  }),
  socketsPerUser: setting(wholeNumber(1, 100_000).default(1000), {
    env: ['CALLBOARD_SOCKETS_PER_USER'],
    about: 'Most sockets that one API process opens to all sandboxes of one user.',
  }),
});

const limits = z.object({
  writesPerMinute: setting(wholeNumber(0, 1_000_000).default(600), {
    env: ['CALLBOARD_WRITES_PER_MINUTE'],
    about:
      'Orders that a signed-in user may give per minute, to each API process; 0 is no limit. Reading is never limited.',
  }),
  startsPerMinute: setting(wholeNumber(0, 1_000_000).default(60), {
    env: ['CALLBOARD_STARTS_PER_MINUTE'],
    about: 'Conversations and sandboxes that a signed-in user may start per minute; 0 is no limit.',
  }),
  signInsPerMinute: setting(wholeNumber(0, 1_000_000).default(300), {
    env: ['CALLBOARD_SIGN_INS_PER_MINUTE'],
    about: 'Steps of signing in per minute and address; 0 is no limit.',
  }),
  wrongSecretsPerMinute: setting(wholeNumber(0, 1_000_000).default(30), {
    env: ['CALLBOARD_WRONG_SECRETS_PER_MINUTE'],
    about:
      'Wrong keys (of instance, users, sandboxes, services, operators) per minute and address; 0 is no limit.',
  }),
});

const maintenance = z.object({
  intervalMinutes: setting(wholeNumber(0, 1440).default(5), {
    env: ['CALLBOARD_MAINTENANCE_MINUTES'],
    about: 'Minutes between two rounds that look for what a crash has left behind; 0 turns them off.',
  }),
  retryHours: setting(wholeNumber(0, 8760).default(24), {
    env: ['CALLBOARD_RETRY_HOURS'],
    about:
      'How long the secrets given with a failed start are kept, encrypted, so that it can be tried again; 0 erases them at once.',
  }),
  keepDays: setting(wholeNumber(0, 36_500).default(90), {
    env: ['CALLBOARD_KEEP_DAYS'],
    about: 'Days after which ended start tasks, and marks of what was deleted, are removed; 0 keeps them.',
  }),
});

const docker = z.object({
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

const remote = z.object({
  apiUrl: setting(webAddress().nullable().default(null), {
    env: ['SANDBOX_REMOTE_RUNTIME_API_URL'],
    about: 'Address of the runtime service.',
  }),
  apiKey: setting(secret(), { env: ['SANDBOX_API_KEY'], about: 'Key of the runtime service.' }),
});

const agentServer = z.object({
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

const llm = z.object({
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

const auth = z.object({
  strategy: setting(
    z
      .enum(
        ['none', 'su', 'single_user_github', 'mu', 'multi_user'],
        'must be none, single_user_github or multi_user',
      )
      .transform((name) => (name === 'su' ? 'single_user_github' : name === 'mu' ? 'multi_user' : name))
      .default('none'),
    {
      env: ['OPENHANDS_AUTH_MODE'],
      about:
        'Who may use this instance: `none` = whoever reaches it, `single_user_github` (also `su`) = one GitHub account, `multi_user` (also `mu`) = whom an OpenID Connect provider lets in.',
    },
  ),
  allowed: setting(
    text()
      .regex(/^(\d{1,20}|[A-Za-z\d](-?[A-Za-z\d]){0,99})$/, 'must be a GitHub id (digits) or a GitHub login')
      .nullable()
      .default(null),
    {
      env: ['SU_GITHUB_ALLOWED'],
      about: 'The one GitHub account let in, by numeric id (better, since logins can change hands) or login.',
    },
  ),
  githubClientId: setting(text().nullable().default(null), {
    env: ['GITHUB_OAUTH_CLIENT_ID'],
    about: 'OAuth app or GitHub App at GitHub; its callback address is `<public address>/api/auth/callback`.',
  }),
  githubClientSecret: setting(secret(), {
    env: ['GITHUB_OAUTH_CLIENT_SECRET'],
    about: 'Its secret.',
  }),
  githubScopes: setting(text().default('repo read:user user:email'), {
    env: ['CALLBOARD_GITHUB_SCOPES'],
    about:
      'What the OAuth app asks for, separated by spaces; the permissions of a GitHub App are set at GitHub.',
  }),
  githubUrl: setting(webAddress().default('https://github.com'), {
    env: ['CALLBOARD_GITHUB_URL'],
    about: 'GitHub, or an enterprise server.',
  }),
  githubApiUrl: setting(webAddress().nullable().default(null), {
    env: ['CALLBOARD_GITHUB_API_URL'],
    about: 'Its API.',
    fallback: '`https://api.github.com`, or `<enterprise server>/api/v3`',
  }),
  oidcIssuer: setting(issuerAddress().nullable().default(null), {
    env: ['OIDC_ISSUER'],
    about: 'OpenID Connect provider of `multi_user`, exactly as it names itself.',
  }),
  oidcDiscoveryUrl: setting(webAddress().nullable().default(null), {
    env: ['OIDC_DISCOVERY_URL'],
    about:
      'Where its description is read from here, where browsers reach the provider under another address.',
    fallback: '`<issuer>/.well-known/openid-configuration`',
  }),
  oidcClientId: setting(text().nullable().default(null), {
    env: ['OIDC_CLIENT_ID'],
    about: 'This server at the provider; its redirect address is `<public address>/api/auth/callback`.',
  }),
  oidcClientSecret: setting(secret(), {
    env: ['OIDC_CLIENT_SECRET'],
    about: 'Its secret; none for a public client.',
  }),
  oidcScopes: setting(
    text()
      .regex(/^(\S+ )*openid( \S+)*$/, 'must name scopes separated by single spaces, openid among them')
      .default('openid profile email'),
    {
      env: ['OIDC_SCOPES'],
      about: 'What is asked of the provider; it has to give refresh tokens, some only with `offline_access`.',
    },
  ),
  oidcAudience: setting(text().nullable().default(null), {
    env: ['OIDC_AUDIENCE'],
    about: 'Audience of access tokens that are taken as `Authorization: Bearer`.',
    fallback: 'no access token is taken',
  }),
  oidcOrganizationsClaim: setting(text().nullable().default(null), {
    env: ['OIDC_ORGANIZATIONS_CLAIM'],
    about: 'Claim that names the organizations of a person, such as `groups`; dots lead into objects.',
    fallback: 'organizations do not come from the provider',
  }),
  module: setting(text().nullable().default(null), {
    env: ['CALLBOARD_AUTH_MODULE'],
    about:
      'A JavaScript module that is the strategy of `multi_user` instead of OpenID Connect: a path, or the name of a package (see docs/identity.md).',
  }),
  moduleSettings: setting(variables().default({}), {
    env: ['CALLBOARD_AUTH_MODULE_SETTINGS'],
    about: 'What that module is given, a JSON object.',
  }),
  sessionHours: setting(wholeNumber(1, 8_760).default(336), {
    env: ['CALLBOARD_SESSION_HOURS'],
    about: 'How long a person stays signed in at most.',
  }),
  sessionIdleHours: setting(wholeNumber(1, 8_760).default(72), {
    env: ['CALLBOARD_SESSION_IDLE_HOURS'],
    about: 'How long a person stays signed in without doing anything.',
  }),
});

const git = z.object({
  allowedPrivateHosts: setting(list(allowedHost()).default([]), {
    env: ['CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS'],
    about:
      'Git hosts that this server may ask although they are not on the public internet, `host[:port]`, behind `http://` where they have no https (see docs/git-providers.md).',
  }),
  timeoutSeconds: setting(wholeNumber(1, 120).default(15), {
    env: ['CALLBOARD_GIT_TIMEOUT_SECONDS'],
    about: 'How long a git provider may take for one answer.',
  }),
  verifyTokens: setting(flag().default(true), {
    env: ['CALLBOARD_GIT_VERIFY_TOKENS'],
    about:
      'Whether a git token is tried at its provider before it is stored; off where only sandboxes reach the provider.',
  }),
});

const keys = z.object({
  master: setting(secret(), {
    env: ['JWT_SECRET'],
    about:
      'Master key for everything encrypted at rest, 32 characters or more; or a JSON list of keys, newest first.',
    fallback: 'made in `<data directory>/.keys`',
  }),
});

const LOG_LEVELS = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  error: 'error',
  fatal: 'fatal',
};
const LOG_ALIASES: Record<string, string> = {
  ...LOG_LEVELS,
  warning: 'warn',
  critical: 'fatal',
  notset: 'trace',
};

const log = z.object({
  level: setting(
    z
      .preprocess(
        (value) => (typeof value === 'string' ? (LOG_ALIASES[value.toLowerCase()] ?? value) : value),
        z.enum(LOG_LEVELS, 'must be trace, debug, info, warn, error or fatal'),
      )
      .default('info'),
    { env: ['LOG_LEVEL'], about: 'Least important messages that are logged.' },
  ),
  json: setting(flag().nullable().default(null), {
    env: ['LOG_JSON'],
    about: 'Whether log lines are JSON.',
    fallback: 'JSON, except on a terminal',
  }),
});

/** The sections of `config.toml`; names there are the same in snake case (`[server] public_url`). */
export const ConfigSchema = z
  .object({
    data,
    server,
    database,
    temporal,
    sandboxes,
    gateway,
    limits,
    maintenance,
    docker,
    remote,
    agentServer,
    llm,
    auth,
    git,
    keys,
    log,
  })
  .superRefine(checkAuth);
