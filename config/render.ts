/** The configuration as people read it: what is in force, and what could be. */
import { Secret, MASK } from '../contract/masking.js';
import type { Config } from './config.js';
import { SETTINGS, type SettingPlace } from './sources.js';

export interface ConfigLine {
  /** Name in the file, such as `server.port`. */
  name: string;
  /** What is in force, secrets masked; `not set` where there is nothing. */
  value: string;
  /** The variable or the place in the file that set it, or `default`. */
  origin: string;
}

/** Lists every setting in force and where it came from; holds no secret. */
export function renderConfig(config: Config): ConfigLine[] {
  return SETTINGS.map(({ path: [section, name], fileName }) => ({
    name: fileName,
    value: shown((config as unknown as Record<string, Record<string, unknown>>)[section]?.[name]),
    origin: config.origins[`${section}.${name}`] ?? 'default',
  }));
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return 'not set';
  if (value instanceof Secret) return MASK;
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(listed).join(', ');
  if (typeof value !== 'object') return `${value as string | number | boolean}`;
  if ('first' in value && 'last' in value) return `${value.first as number}-${value.last as number}`;
  const names = Object.keys(value);
  return names.length === 0 ? 'none' : names.map((name) => `${name}=${MASK}`).join(', ');
}

/** An entry of a list; hosts as they were written. */
function listed(entry: unknown): string {
  if (typeof entry !== 'object' || entry === null || !('host' in entry)) return String(entry);
  const { host, port, http } = entry as { host: string; port: number | null; http: boolean };
  return `${http ? 'http://' : ''}${host}${port === null ? '' : `:${port}`}`;
}

/** `docs/configuration.md`, made from the schema. */
export function configurationDocument(): string {
  const sections = [...new Set(SETTINGS.map(({ path }) => path[0]))];
  return [
    '# Configuration',
    '',
    '<!-- Made by `npm run docs`: change config/schema.ts, not this page. -->',
    '',
    'Callboard reads its settings once, at the start: the environment wins over `config.toml`, which wins over the',
    'defaults. The file is the one given with `--config`, else `config.toml` in the data directory. An empty variable',
    'counts as not set. A name or value that is wrong stops the start with a message that lists all of them.',
    ...sections.flatMap((section) => [
      '',
      `## \`[${SETTINGS.find(({ path }) => path[0] === section)?.fileName.split('.')[0] ?? section}]\``,
      '',
      '| setting | environment | meaning | default |',
      '| --- | --- | --- | --- |',
      ...SETTINGS.filter(({ path }) => path[0] === section).map(row),
    ]),
    '',
  ].join('\n');
}

function row({ fileName, schema, info }: SettingPlace): string {
  const variables = (info.env ?? []).map((name) => `\`${name.replace(/\*$/, '0…')}\``).join(', ');
  return `| \`${fileName.split('.')[1] ?? ''}\` | ${variables} | ${info.about} | ${info.fallback ?? defaultOf(schema)} |`;
}

function defaultOf(schema: SettingPlace['schema']): string {
  const value = shown(schema.parse(undefined));
  return value === 'not set' || value === 'none' ? 'none' : `\`${value}\``;
}
