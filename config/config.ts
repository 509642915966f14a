import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { Secret } from '../contract/masking.js';
import { ConfigSchema } from './schema.js';
import { gather, SETTINGS, type Found } from './sources.js';

type Settings = z.output<typeof ConfigSchema>;

/** What is in force: read once at the start, frozen, and handed on by the composition roots. */
export type Config = Omit<Settings, 'data'> & {
  /** Absolute paths. */
  data: { directory: string; hostDirectory: string; skillsDirectory: string };
  /** The configuration file that was read; null when there is none. */
  file: string | null;
  /** Where each setting (`server.port`) came from: a variable, a place in the file, or `default`. */
  origins: Readonly<Record<string, string>>;
};

/** The configuration is wrong; the message names every wrong name and value, and repeats no value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export interface ConfigSources {
  env: Readonly<Record<string, string | undefined>>;
  /** The file given with `--config`, which then has to exist; else `config.toml` of the data directory, if there. */
  configPath?: string;
}

/**
 * Reads the configuration: the environment wins over the file, the file over the defaults.
 * @throws {ConfigError} when anything is wrong, with everything that is.
 */
export function loadConfig({ env, configPath }: ConfigSources): Config {
  const home = env['HOME'] || homedir();
  const path = configPath
    ? absolute(configPath, home)
    : join(
        absolute(env['OH_PERSISTENCE_DIR'] || env['FILE_STORE_PATH'] || '~/.callboard', home),
        'config.toml',
      );
  const content = readFile(path, configPath !== undefined);
  const { found, unknown } = gather(env, content ? parseFile(content, path) : {}, path);
  const settings = validate(found, unknown);

  const directory = absolute(settings.data.directory ?? '~/.callboard', home);
  return deepFreeze({
    ...settings,
    data: {
      directory,
      hostDirectory: absolute(settings.data.hostDirectory ?? join(directory, 'host'), home),
      skillsDirectory: absolute(settings.data.skillsDirectory ?? join(directory, 'skills'), home),
    },
    server: {
      ...settings.server,
      frontendDirectory:
        settings.server.frontendDirectory && absolute(settings.server.frontendDirectory, home),
    },
    agentServer: {
      ...settings.agentServer,
      environment: { ...forwarded(env), ...settings.agentServer.environment },
    },
    file: content === null ? null : path,
    origins: Object.fromEntries(
      SETTINGS.map(({ path: [section, name] }) => {
        const key = `${section}.${name}`;
        return [key, found.get(key)?.source ?? 'default'];
      }),
    ),
  });
}

function validate(found: ReadonlyMap<string, Found>, unknown: readonly string[]): Settings {
  const raw: Record<string, Record<string, unknown>> = {};
  for (const { path } of SETTINGS) {
    const [section, name] = path;
    raw[section] ??= {};
    const hit = found.get(`${section}.${name}`);
    if (hit) raw[section][name] = hit.value;
  }
  const result = ConfigSchema.safeParse(raw);
  const issues = [
    ...unknown.map((name) => ({ message: 'is not a setting (see docs/configuration.md)', path: [name] })),
    ...(result.error?.issues ?? []).map(({ message, path }) => ({
      message,
      path: [publicName(path, found)],
    })),
  ];
  if (result.success && issues.length === 0) return result.data;
  const details = z.prettifyError(new z.ZodError(issues.map((issue) => ({ ...issue, code: 'custom' }))));
  throw new ConfigError(`The configuration is wrong:\n${details}`);
}

/** Names the setting at a path of the schema as the person who wrote it did. */
function publicName(path: readonly PropertyKey[], found: ReadonlyMap<string, Found>): string {
  const [section = '', name = '', ...rest] = path.map(String);
  const hit = found.get(`${section}.${name}`)?.source;
  const place = SETTINGS.find((setting) => setting.path[0] === section && setting.path[1] === name);
  return [hit ?? place?.info.env?.[0] ?? `${section}.${name}`, ...rest].join('.');
}

function readFile(path: string, required: boolean): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    if (code === 'ENOENT' && !required) return null;
    const reason = code === 'ENOENT' ? 'it does not exist' : code;
    throw new ConfigError(`The configuration file ${path} cannot be read: ${reason}.`, { cause: error });
  }
}

function parseFile(content: string, path: string): Record<string, unknown> {
  try {
    return parse(content);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The parser's message quotes the file, which may hold keys.
    throw new ConfigError(
      `The configuration file ${path} is not TOML: see line ${error.line}, column ${error.column}.`,
    );
  }
}

/** What every agent-server inherits of our environment (contract 5.3). */
const forwarded = (env: ConfigSources['env']): Record<string, Secret> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      /^(LLM|LMNR)_/.test(name) && value ? [[name, new Secret(value)]] : [],
    ),
  );

const absolute = (path: string, home: string): string =>
  resolve(path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path);

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
