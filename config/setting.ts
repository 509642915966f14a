/** How one setting is declared: its schema, and the names and words under which people meet it. */
import { z } from 'zod';
import { Secret } from '../contract/masking.js';

export interface SettingInfo {
  /** Environment variables, the first one that is set and not empty wins; `NAME_*` stands for `NAME_0`, `NAME_1`, … */
  env?: readonly string[];
  /** What it is for, in one sentence, for the documentation. */
  about: string;
  /** The default in words, where the schema's own default does not say it. */
  fallback?: string;
}

/** What is known of each setting besides its schema; documentation and messages are made from it. */
export const settingInfo = z.registry<SettingInfo>();

/** Declares a setting. */
export function setting<Schema extends z.ZodType>(schema: Schema, info: SettingInfo): Schema {
  settingInfo.add(schema, info);
  return schema;
}

/** A non-empty text. */
export const text = () => z.string('must be a text').trim().min(1, 'must not be empty');

/** A text that is shown as a mask; unset unless given. */
export const secret = () =>
  z
    .string('must be a text')
    .min(1, 'must not be empty')
    .transform((value) => new Secret(value))
    .nullable()
    .default(null);

/** A database address, which holds a password as a rule. */
export const databaseAddress = () =>
  z
    .string('must be a text')
    .regex(/^postgres(ql)?:\/\/\S+$/, 'must begin with postgres:// or postgresql://')
    .transform((value) => new Secret(value))
    .nullable()
    .default(null);

/** A whole number within bounds, written as a number or as digits. */
export const wholeNumber = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value),
    z
      .int(`must be a whole number from ${min} to ${max}`)
      .min(min, `must be at least ${min}`)
      .max(max, `must be at most ${max}`),
  );

/** A number within bounds, decimals allowed. */
export const decimalNumber = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value),
    z
      .number(`must be a number from ${min} to ${max}`)
      .min(min, `must be at least ${min}`)
      .max(max, `must be at most ${max}`),
  );

/** A switch; `true`, `yes`, `on`, `1` and their opposites. */
export const flag = () =>
  z.preprocess(
    (value) => (typeof value === 'boolean' ? String(value) : value),
    z.stringbool('must be true or false'),
  );

const parseUrl = (value: string): URL | null => (URL.canParse(value) ? new URL(value) : null);

/** An http(s) address without trailing slash; https where no scheme is given. */
export const webAddress = () =>
  text().transform((value, context) => {
    const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `https://${value}`;
    const url = parseUrl(address);
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) {
      context.issues.push({ code: 'custom', message: 'must be an http or https address', input: undefined });
      return z.NEVER;
    }
    return url.href.replace(/\/+$/, '');
  });

/** An OpenID Connect issuer: compared letter by letter, so kept as it is; https, or http on this machine. */
export const issuerAddress = () =>
  text().refine(
    (value) => {
      const url = parseUrl(value);
      if (!url || url.search || url.hash || url.username) return false;
      const local = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
      return url.protocol === 'https:' || (url.protocol === 'http:' && local);
    },
    { message: 'must be an https address as the provider names itself (http on this machine only)' },
  );

/**
 * A host, with or without a port, behind `http://` where it may be asked without encryption. The port is null where none
 * is given: it may be any.
 */
export const allowedHost = () =>
  text().transform((value, context): { host: string; port: number | null; http: boolean } => {
    const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/i.exec(value) ?? [];
    const url = parseUrl(`http://${rest}`);
    // Hosts are named one by one: a pattern would match nothing.
    const isHost =
      url !== null &&
      !url.hostname.includes('*') &&
      !url.username &&
      url.pathname === '/' &&
      !url.search &&
      !url.hash;
    if (!isHost || !/^(https?:\/\/)?$/i.test(scheme)) {
      const message = 'must be a host such as git.example.com, 10.0.0.7:8443 or http://127.0.0.1:3000';
      context.issues.push({ code: 'custom', message, input: undefined });
      return z.NEVER;
    }
    const port = /:(\d+)\/?$/.exec(rest)?.[1];
    return {
      host: url.hostname,
      port: port === undefined ? null : Number(port),
      http: scheme.toLowerCase() === 'http://',
    };
  });

/** A list, as an array or as comma-separated text. */
export const list = <Item extends z.ZodType<unknown, string>>(item: Item) =>
  z.preprocess(
    (value) =>
      typeof value === 'string'
        ? value
            .split(',')
            .map((entry) => entry.trim())
            .filter(Boolean)
        : value,
    z.array(item, 'must be a list'),
  );

/** Browser origins, exactly as browsers send them. */
export const origin = () =>
  text().transform((value, context) => {
    const url = parseUrl(value);
    if (!url || url.origin === 'null') {
      const message =
        value === '*'
          ? 'must name each origin: any origin with credentials would let every web page act as the user'
          : 'must be an origin such as https://openhands.example.com';
      context.issues.push({ code: 'custom', message, input: undefined });
      return z.NEVER;
    }
    return url.origin;
  });

export interface PortRange {
  first: number;
  last: number;
}

/** Two ports with a dash between them, both included. */
export const portRange = () =>
  text().transform((value, context): PortRange => {
    const [first, last] = (/^(\d{1,5})\s*-\s*(\d{1,5})$/.exec(value) ?? []).slice(1).map(Number);
    if (first === undefined || last === undefined || first < 1024 || last > 65_535 || first > last) {
      const message = 'must be two ports from 1024 to 65535, the lower first, such as 20000-27999';
      context.issues.push({ code: 'custom', message, input: undefined });
      return z.NEVER;
    }
    return { first, last };
  });

/** A program and its arguments, as an array or as one line in which quotes keep words together. */
export const commandLine = () =>
  z
    .preprocess(
      (value) => (typeof value === 'string' ? splitCommand(value) : value),
      z.array(z.string(), 'must be a command with balanced quotes').min(1, 'must not be empty'),
    )
    .nullable()
    .default(null);

/** @returns the words of a line, or null when a quote is left open. */
function splitCommand(line: string): string[] | null {
  const words: string[] = [];
  const pattern = /\s*((?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+)|(\s*\S)/gsy;
  for (const [, word, stray] of line.matchAll(pattern)) {
    if (stray !== undefined || word === undefined) return null;
    words.push(
      word.replaceAll(
        /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
        (_, escaped?: string, double?: string, single?: string) =>
          escaped ?? double?.replaceAll(/\\(["\\$`])/g, '$1') ?? single ?? '',
      ),
    );
  }
  return words;
}

/** Environment variables for something else, as a table or as a JSON object; every value is kept as a secret. */
export const variables = () =>
  z.preprocess(
    (value) => {
      if (typeof value !== 'string') return value;
      try {
        return JSON.parse(value) as unknown;
      } catch (error) {
        if (error instanceof SyntaxError) return null; // refused below, without repeating any of it
        throw error;
      }
    },
    z.record(
      z.string(),
      z
        .union([z.string(), z.number(), z.boolean()], 'must be a text')
        .transform((value) => new Secret(String(value))),
      'must be a JSON object of names and values',
    ),
  );
