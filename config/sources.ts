/** Where settings come from: which names exist, and what the file and the environment say about each. */
import type { z } from 'zod';
import { ConfigSchema } from './schema.js';
import { settingInfo, type SettingInfo } from './setting.js';

export interface SettingPlace {
  /** Path in the schema, such as `['server', 'publicUrl']`. */
  path: readonly [section: string, name: string];
  /** The same in `config.toml`: `server.public_url`. */
  fileName: string;
  schema: z.ZodType;
  info: SettingInfo;
}

const snakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Every setting, in the order of the schema. */
export const SETTINGS: readonly SettingPlace[] = Object.entries(ConfigSchema.shape).flatMap(
  ([section, { shape }]) =>
    Object.entries(shape as Record<string, z.ZodType>).map(([name, schema]): SettingPlace => {
      const info = settingInfo.get(schema);
      if (!info) throw new Error(`the setting ${section}.${name} is not declared with setting()`);
      return { path: [section, name], fileName: `${snakeCase(section)}.${snakeCase(name)}`, schema, info };
    }),
);

/** A value as it was found, and the name under which people know where. */
export interface Found {
  value: unknown;
  /** `PORT` or `server.port in <file>`. */
  source: string;
}

export interface Gathered {
  /** By `section.name` of the schema. */
  found: Map<string, Found>;
  /** Names that mean nothing, each with where it stands. */
  unknown: string[];
}

/** Variables of ours that are not settings: container platforms make some up for a service called callboard. */
const isPlatformVariable = (name: string): boolean => /_(SERVICE|PORT)(_|$)/.test(name);

/** Collects what the environment says, and what the file says about the rest. */
export function gather(
  env: Readonly<Record<string, string | undefined>>,
  file: Readonly<Record<string, unknown>>,
  fileLabel: string,
): Gathered {
  const found = new Map<string, Found>();
  const known = new Set<string>();
  for (const { path, fileName, info } of SETTINGS) {
    const [section = '', name = ''] = fileName.split('.');
    const table = file[section];
    if (isTable(table) && Object.hasOwn(table, name)) {
      found.set(path.join('.'), { value: table[name], source: `${fileName} in ${fileLabel}` });
    }
    const fromEnvironment = info.env?.map((variable) => read(env, variable)).find((hit) => hit !== null);
    if (fromEnvironment) found.set(path.join('.'), fromEnvironment);
    info.env?.forEach((variable) => known.add(variable));
    known.add(section).add(fileName);
  }
  const unknown = unknownInFile(file, known).map((name) => `${name} in ${fileLabel}`);
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('CALLBOARD_') || !value || known.has(name) || isPlatformVariable(name)) continue;
    unknown.push(name);
  }
  return { found, unknown };
}

/** An empty variable counts as absent: that is what `${NAME:-}` in a compose file leaves behind. */
function read(env: Readonly<Record<string, string | undefined>>, variable: string): Found | null {
  if (!variable.endsWith('_*')) {
    const value = env[variable]?.trim();
    return value ? { value, source: variable } : null;
  }
  const prefix = variable.slice(0, -1);
  const numbered = Object.keys(env)
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)) && env[name])
    .sort((a, b) => Number(a.slice(prefix.length)) - Number(b.slice(prefix.length)));
  if (numbered.length === 0) return null;
  return { value: numbered.map((name) => env[name]), source: numbered.join(', ') };
}

function unknownInFile(file: Readonly<Record<string, unknown>>, known: ReadonlySet<string>): string[] {
  return Object.entries(file).flatMap(([section, table]) => {
    if (!known.has(section) || !isTable(table)) return [section];
    return Object.keys(table)
      .map((name) => `${section}.${name}`)
      .filter((name) => !known.has(name));
  });
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
