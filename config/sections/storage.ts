/** Where things are kept, what keeps them, and what is written down about it. */
import { z } from 'zod';
import { databaseAddress, flag, secret, setting, text, wholeNumber } from '../setting.js';

export const data = z.object({
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

export const database = z.object({
  url: setting(databaseAddress(), {
    env: ['DATABASE_URL'],
    about: 'PostgreSQL 14 or later, as `postgres://user:password@host:port/database`.',
    fallback: 'embedded, under the data directory',
  }),
  maxConnections: setting(wholeNumber(2, 500).default(10), {
    env: ['CALLBOARD_DATABASE_CONNECTIONS'],
    about: 'Most connections one process keeps open.',
  }),
  allowNewerSchema: setting(flag().default(false), {
    env: ['CALLBOARD_ALLOW_NEWER_SCHEMA'],
    about: 'Whether to start on a database that a later version has upgraded, for going back by one version.',
  }),
});

export const temporal = z.object({
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

export const maintenance = z.object({
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

export const keys = z.object({
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

export const log = z.object({
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
