/** The log of a process: JSON lines, or readable ones on a terminal, never with a secret in them. */
import { createRequire } from 'node:module';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino';
import type * as Pretty from 'pino-pretty';
import type { Config } from '../config/config.js';
import { isSecretName, MASK } from '../contract/masking.js';
import { SecretMasker } from '../contract/secret-masker.js';
import { LinesTogether } from './lines-together.js';
import { sourceStack } from './source-stack.js';

export interface LoggerOptions {
  /** Masks by value; secrets that turn up later are added to it. */
  masker?: SecretMasker;
  /** Standard output unless given. */
  destination?: DestinationStream;
}

/** How deep the fields of a message are searched for secrets by name. */
const DEPTH = 8;

/**
 * Makes the logger. Fields with a secret's name are masked; after that the whole line is searched for known secrets,
 * so that they are not found in messages, errors and stacks either.
 */
export function createLogger(
  { level, json }: Config['log'],
  { masker = new SecretMasker(), destination }: LoggerOptions = {},
): Logger {
  const stream =
    (json ?? !process.stdout.isTTY)
      ? (destination ?? new LinesTogether(process.stdout))
      : readable(destination ?? process.stdout);
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => withoutSecrets(fields, DEPTH) as Record<string, unknown>,
      },
      serializers: { err: (error: unknown) => errorFields(error) },
      hooks: { streamWrite: (line) => masker.mask(line) },
    },
    stream,
  );
}

/** Lines for people, written at once: nothing is lost when the process ends. */
function readable(output: DestinationStream): DestinationStream {
  // Thirty files, which a server that logs JSON has no use for.
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof Pretty;
  const format = prettyFactory({ colorize: process.stdout.isTTY });
  return { write: (line) => output.write(format(line)) };
}

/** All secrets of a configuration, for the masker. */
export function secretsOf(config: Config): SecretMasker {
  const database = config.database.url?.reveal() ?? '';
  return new SecretMasker([
    config.server.instanceKey,
    config.server.serviceKey,
    config.temporal.apiKey,
    config.temporal.operatorKey,
    config.remote.apiKey,
    config.llm.apiKey,
    config.auth.githubClientSecret,
    config.auth.oidcClientSecret,
    ...Object.entries(config.auth.moduleSettings).map(([name, value]) => (isSecretName(name) ? value : null)),
    config.keys.master,
    URL.canParse(database) ? decodeURIComponent(new URL(database).password) || null : null,
    // Models and addresses are handed on as variables too, and are no secrets.
    ...Object.entries(config.agentServer.environment).map(([name, value]) =>
      isSecretName(name) ? value : null,
    ),
  ]);
}

/** A failed query is logged with what the database said, not with the values it was given. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (error instanceof DrizzleQueryError) {
    return { ...readableError(error.cause ?? new Error('a query failed')), query: error.query };
  }
  return readableError(error);
}

function readableError(error: Error): ReturnType<typeof stdSerializers.err> {
  const fields = stdSerializers.err(error);
  return { ...fields, stack: sourceStack(fields.stack) };
}

function withoutSecrets(value: unknown, depth: number): unknown {
  if (depth === 0 || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, depth - 1));
  // Instances of classes know how to print themselves.
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  let shown: Record<string, unknown> | null = null; // a copy, where there is something to hide
  for (const [name, member] of Object.entries(value as Record<string, unknown>)) {
    const safe = typeof member === 'string' && isSecretName(name) ? MASK : withoutSecrets(member, depth - 1);
    if (safe !== member) (shown ??= { ...value })[name] = safe;
  }
  return shown ?? value;
}
