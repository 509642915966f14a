/** Settings and secrets as the files of a Python server hold them, of both forms. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { GitProvider } from '../../contract/primitives.js';
import { applyFlatUpdate, FlatSettingsUpdate } from '../../contract/settings-flat.js';
import { isObject, type Json } from '../../contract/settings-secrets.js';
import { readSettings, type StoredSettings } from '../../contract/settings.js';
import { LlmSettings } from '../../contract/agent-settings.js';
import { salvage } from './salvage.js';
import { Undecodable } from './source-database.js';
import { isSealed, openSealed, type SourceKeys } from './source-keys.js';

/** Settings with the names of members that could not be taken. */
export interface SourceSettings {
  stored: StoredSettings;
  dropped: string[];
}

/** The members of the flat form (2025-11) that no later release has. */
const FLAT_MEMBERS = [
  'llm_model',
  'llm_api_key',
  'llm_base_url',
  'agent',
  'max_iterations',
  'confirmation_mode',
];

/**
 * `settings.json`: flat as the 2025-11 release wrote it, or nested as release 1.11 does. Only what differs from the
 * defaults is kept, as if the user had chosen it here.
 * @throws {Undecodable}
 */
export async function decodeSettings(text: string, keys: SourceKeys): Promise<SourceSettings> {
  const file = objectIn(text);
  const unopened: string[] = [];
  const plain = await opened(file, keys, (path) => unopened.push(path));
  const isFlat =
    !isObject(plain['agent_settings']) && FLAT_MEMBERS.some((name) => Object.hasOwn(plain, name));
  const { stored, dropped } = isFlat ? fromFlat(plain) : fromNested(plain);
  return { stored, dropped: [...unopened, ...dropped] };
}

function fromFlat(file: Json): SourceSettings {
  const update = salvage(FlatSettingsUpdate, file);
  if (update === null) throw new Undecodable('it holds no settings');
  return { stored: applyFlatUpdate({}, update.value), dropped: update.dropped };
}

function fromNested(file: Json): SourceSettings {
  const { secrets_store: _secrets, inherited_marketplaces: _inherited, ...own } = file;
  const { settings, dropped } = readSettings({
    ...own,
    agent_settings: withoutDerived(own['agent_settings']),
  });
  const kind = settings.agent_settings.agent_kind;
  const defaults = readSettings({ agent_settings: { agent_kind: kind } }).settings;
  const stored = differing(settings, defaults);
  const profiles = Object.entries(settings.llm_profiles.profiles);
  if (profiles.length > 0) {
    stored['llm_profiles'] = {
      ...settings.llm_profiles,
      profiles: Object.fromEntries(profiles.map(([name, profile]) => [name, chosenModel(profile)])),
    };
  }
  const agent = isObject(stored['agent_settings']) ? stored['agent_settings'] : {};
  // A key must never meet another model than the one it was stored for.
  if (isObject(agent['llm'])) agent['llm'] = { ...agent['llm'], model: settings.agent_settings.llm.model };
  stored['agent_settings'] = { ...agent, agent_kind: kind };
  return { stored, dropped };
}

/** What the SDK computes, or each start makes anew. */
function withoutDerived(agent: unknown): Json {
  if (!isObject(agent)) return {};
  const { agent_context: _context, ...rest } = agent;
  return isObject(rest['llm']) ? { ...rest, llm: withoutSubscription(rest['llm']) } : rest;
}

const withoutSubscription = ({ is_subscription: _computed, ...llm }: Json): Json => llm;

function chosenModel(profile: Json): Json {
  const defaults = LlmSettings.parse({});
  return { ...differing(withoutSubscription(profile), defaults), model: profile['model'] ?? defaults.model };
}

/** The members whose values are not the default ones. */
function differing(value: Json, defaults: Json): Json {
  const kept: Json = {};
  for (const [name, member] of Object.entries(value)) {
    const usual = defaults[name];
    if (isDeepStrictEqual(member, usual) || (member === null && usual === undefined)) continue;
    kept[name] = isObject(member) && isObject(usual) ? differing(member, usual) : member;
  }
  return kept;
}

export interface SourceSecret {
  name: string;
  value: string;
  description: string | null;
}

export interface SourceToken {
  provider: GitProvider;
  token: string;
  host: string | null;
  userId: string | null;
}

/** Secrets and tokens of `secrets.json`, and why others are not among them. */
export interface SourceSecrets {
  secrets: SourceSecret[];
  tokens: SourceToken[];
  problems: { kind: 'secrets' | 'provider tokens'; name: string; why: string; failed: boolean }[];
}

const Token = z.object({
  token: z.string().nullish(),
  host: z.string().nullish(),
  user_id: z.string().nullish(),
});
const CustomSecret = z.union([
  z.string().transform((secret) => ({ secret, description: null })),
  z.object({ secret: z.string(), description: z.string().nullish() }),
]);

/** A secret becomes an environment variable. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * `secrets.json`.
 * @throws {Undecodable} when it is no JSON object
 */
export async function decodeSecrets(text: string, keys: SourceKeys): Promise<SourceSecrets> {
  const file = objectIn(text);
  const found: SourceSecrets = { secrets: [], tokens: [], problems: [] };
  const plainOf = async (value: string): Promise<string> =>
    isSealed(value) ? openSealed(keys, value) : value;
  const each = async (
    kind: 'secrets' | 'provider tokens',
    members: unknown,
    take: (name: string, value: unknown) => Promise<string | null>,
  ): Promise<void> => {
    for (const [name, value] of Object.entries(isObject(members) ? members : {})) {
      const problem = await take(name, value).catch((err: unknown) => {
        if (err instanceof Undecodable) return err;
        throw err;
      });
      if (problem === null) continue;
      const failed = problem instanceof Undecodable;
      found.problems.push({ kind, name, why: failed ? problem.message : problem, failed });
    }
  };
  await each('provider tokens', file['provider_tokens'], async (name, value) => {
    const provider = GitProvider.safeParse(name);
    if (!provider.success) return 'it is for no git host that is known here';
    const given = Token.safeParse(value);
    if (!given.success) throw new Undecodable('it cannot be read');
    const { token, host, user_id: userId } = given.data;
    if (!token) return 'it is empty';
    const entry = { provider: provider.data, host: host || null, userId: userId || null };
    found.tokens.push({ ...entry, token: await plainOf(token) });
    return null;
  });
  await each('secrets', file['custom_secrets'], async (name, value) => {
    const given = CustomSecret.safeParse(value);
    if (!given.success) throw new Undecodable('it cannot be read');
    if (!VARIABLE.test(name)) return 'its name cannot be that of an environment variable';
    const { secret, description } = given.data;
    found.secrets.push({ name, value: await plainOf(secret), description: description || null });
    return null;
  });
  return found;
}

/** A copy with all sealed texts opened; those that no key opens are left out and told of by their path. */
async function opened(
  value: Json,
  keys: SourceKeys,
  onClosed: (path: string) => void,
  at = '',
): Promise<Json> {
  const copy: Json = {};
  for (const [name, member] of Object.entries(value)) {
    const path = at === '' ? name : `${at}.${name}`;
    if (isObject(member)) copy[name] = await opened(member, keys, onClosed, path);
    else if (typeof member !== 'string' || !isSealed(member)) copy[name] = member;
    else {
      const plain = await openSealed(keys, member).catch((err: unknown) => {
        if (err instanceof Undecodable) return null;
        throw err;
      });
      if (plain === null) onClosed(path);
      else copy[name] = plain;
    }
  }
  return copy;
}

function objectIn(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null; // the reason would repeat what it holds
  }
  if (!isObject(value)) throw new Undecodable('it is no JSON object');
  return value;
}
