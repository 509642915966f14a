/** Settings of a user in the form of release 1.11 (contract 10.1); the 2025-11 form is in `settings-flat.ts`. */
import { z } from 'zod';
import { AgentSettings } from './agent-settings.js';
import { isObject, restoreMasked, type Json } from './settings-secrets.js';

export const SANDBOX_GROUPING_STRATEGIES = [
  'NO_GROUPING',
  'GROUP_BY_NEWEST',
  'LEAST_RECENTLY_USED',
  'FEWEST_CONVERSATIONS',
  'ADD_TO_ANY',
] as const;

export const SECURITY_ANALYZERS = ['llm', 'none'] as const;

export const ConversationSettings = z.looseObject({
  schema_version: z.int().min(1).default(1),
  max_iterations: z.int().min(1).default(500),
  confirmation_mode: z.boolean().default(false),
  security_analyzer: z.enum(SECURITY_ANALYZERS).nullable().default('llm'),
});

/** A place skills and plugins come from; `scope` is the server's to say. */
export const Marketplace = z.object({
  name: z
    .string()
    .regex(/^[a-zA-Z][a-zA-Z0-9_-]*$/, 'must begin with a letter and hold letters, digits, _ and - only'),
  source: z
    .string()
    .min(1)
    .refine((source) => !source.startsWith('/') && !source.split('/').includes('..'), {
      error: 'must be github:owner/repo, a git URL, or a relative path without ".."',
    }),
  ref: z.string().nullable().default(null),
  repo_path: z
    .string()
    .refine((path) => !/^\/|:\/\//.test(path) && !path.split('/').includes('..'), {
      error: 'must be a relative path without ".."',
    })
    .nullable()
    .default(null),
  auto_load: z.union([z.boolean(), z.array(z.string())]).default(false),
  scope: z.enum(['instance', 'org', 'personal']).nullable().default(null),
});

export const LlmProfiles = z.object({
  profiles: z.record(z.string(), z.looseObject({})).default({}),
  active: z.string().nullable().default(null),
});

const optionalText = () => z.string().nullable().default(null);
const optionalKey = () =>
  z
    .string()
    .nullable()
    .default(null)
    .transform((value) => (value === '' ? null : value));

/** All settings, every default filled in. Keys are plain here: it never leaves the server as it is. */
export const Settings = z.object({
  language: optionalText(),
  user_version: z.int().nullable().default(null),
  remote_runtime_resource_factor: z.number().nullable().default(null),
  enable_sound_notifications: z.boolean().default(false),
  enable_proactive_conversation_starters: z.boolean().default(true),
  user_consents_to_analytics: z.boolean().nullable().default(null),
  sandbox_base_container_image: optionalText(),
  sandbox_runtime_container_image: optionalText(),
  disabled_skills: z.array(z.string()).nullable().default(null),
  search_api_key: optionalKey(),
  sandbox_api_key: optionalKey(),
  max_budget_per_task: z.number().min(0).nullable().default(null),
  email: optionalText(),
  email_verified: z.boolean().nullable().default(null),
  git_user_name: optionalText(),
  git_user_email: optionalText(),
  git_full_clone: z.boolean().default(false),
  v1_enabled: z.boolean().default(true),
  agent_settings: AgentSettings.prefault({}),
  conversation_settings: ConversationSettings.prefault({}),
  sandbox_grouping_strategy: z.enum(SANDBOX_GROUPING_STRATEGIES).default('NO_GROUPING'),
  default_sandbox_spec_id: optionalText(),
  llm_profiles: LlmProfiles.prefault({}),
  active_agent_profile_id: optionalText(),
  active_agent_profile_revision: z.int().nullable().default(null),
  registered_marketplaces: z.array(Marketplace).default([]),
  inherited_marketplaces: z.array(Marketplace).default([]),
  /** Known to the 2025-11 client only. */
  enable_solvability_analysis: z.boolean().default(false),
});
export type Settings = z.output<typeof Settings>;

/** What a user has set, and nothing else: defaults are filled in when it is read, so that they can change. */
export type StoredSettings = Json;

/** A change was refused; the message names the member and repeats no value. */
export class InvalidSettings extends Error {
  override readonly name = 'InvalidSettings';
}

/** Members that are derived, or written by other routes. */
const NOT_WRITABLE = [
  'secrets_store',
  'llm_profiles',
  'active_agent_profile_id',
  'active_agent_profile_revision',
  'inherited_marketplaces',
  'agent_settings',
  'conversation_settings',
] as const;
const WRITABLE = Object.keys(Settings.shape).filter(
  (name) => !(NOT_WRITABLE as readonly string[]).includes(name),
);
/** An absent value and null leave these as they are: GET shows keys as null, and clients send back what they got. */
const KEPT_WHEN_NULL = new Set([
  'search_api_key',
  'sandbox_api_key',
  'user_consents_to_analytics',
  'disabled_skills',
]);

/** The members that replaced these are named in the refusal (contract 10.1). */
export const REPLACED_KEYS = ['agent_settings', 'conversation_settings'] as const;

/**
 * Applies the body of `POST /api/v1/settings`. Everything is validated before anything is kept.
 * @throws {InvalidSettings} when the outcome would not be valid settings.
 */
export function applySettingsUpdate(stored: StoredSettings, update: Json): StoredSettings {
  const { agent_settings_diff: agentDiff, conversation_settings_diff: conversationDiff, ...members } = update;
  const incoming = restoreMasked(
    {
      ...members,
      agent_settings: unwrapServers(agentDiff ?? {}),
      conversation_settings: conversationDiff ?? {},
    },
    stored,
  );
  const next: StoredSettings = { ...stored };
  for (const name of WRITABLE) {
    if (!Object.hasOwn(members, name)) continue;
    const value = incoming[name];
    if (value === null && KEPT_WHEN_NULL.has(name)) continue;
    if (value === null || value === '') Reflect.deleteProperty(next, name);
    else next[name] = value;
  }
  next['agent_settings'] = mergeAgentSettings(
    stored['agent_settings'],
    diff('agent_settings_diff', incoming['agent_settings']),
  );
  next['conversation_settings'] = mergePatch(
    stored['conversation_settings'],
    diff('conversation_settings_diff', incoming['conversation_settings']),
  );
  return checked(next, stored);
}

/** Refuses what could not be read back (defect D23) and forgets the active profile if the model is another one now. */
export function checked(next: StoredSettings, before: StoredSettings): StoredSettings {
  const settings = validSettings(next);
  const names = [...settings.registered_marketplaces, ...settings.inherited_marketplaces].map(
    ({ name }) => name,
  );
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new InvalidSettings(`registered_marketplaces: the name ${twice} is used twice`);
  const llm = (of: StoredSettings) => JSON.stringify(readSettings(of).settings.agent_settings.llm);
  if (settings.llm_profiles.active === null || llm(next) === llm(before)) return next;
  return { ...next, llm_profiles: { ...settings.llm_profiles, active: null } };
}

/** @throws {InvalidSettings} */
export function validSettings(stored: StoredSettings): Settings {
  const { data, error } = Settings.safeParse(stored);
  if (data) return data;
  const [issue] = error.issues;
  throw new InvalidSettings(`${issue?.path.join('.') ?? 'settings'}: ${issue?.message ?? 'invalid'}`);
}

/**
 * Reads stored settings whatever an earlier version stored: a member that is no longer valid counts as not set.
 * @returns the settings and the paths of the members left out.
 */
export function readSettings(stored: StoredSettings): { settings: Settings; dropped: string[] } {
  let rest = stored;
  const dropped: string[] = [];
  for (;;) {
    const { data, error } = Settings.safeParse(rest);
    if (data) return { settings: data, dropped };
    const path = present(rest, error.issues[0]?.path ?? []);
    if (path.length === 0) throw error;
    dropped.push(path.join('.'));
    rest = without(rest, path) as StoredSettings;
  }
}

/** The part of a path that exists: what lacks a member is left out whole. */
function present(value: unknown, path: readonly PropertyKey[]): readonly PropertyKey[] {
  let current = value;
  for (const [index, name] of path.entries()) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, name)) {
      return path.slice(0, index);
    }
    current = (current as Record<PropertyKey, unknown>)[name];
  }
  return path;
}

function without(value: unknown, [name, ...rest]: readonly PropertyKey[]): unknown {
  if (name === undefined || typeof value !== 'object' || value === null) return value;
  // An element cannot be left out without moving the others: the whole list goes.
  if (Array.isArray(value)) return undefined;
  const object = value as Record<PropertyKey, unknown>;
  const inner = rest.length > 0 && name in object ? without(object[name], rest) : undefined;
  const others = Object.fromEntries(Object.entries(object).filter(([other]) => other !== name));
  return inner === undefined || inner === object[name] ? others : { ...others, [name]: inner };
}

/** MCP servers are stored without the `mcpServers` around them that some clients send. */
function unwrapServers(agentDiff: unknown): unknown {
  const wrapped =
    isObject(agentDiff) && isObject(agentDiff['mcp_config']) && agentDiff['mcp_config']['mcpServers'];
  return isObject(agentDiff) && isObject(wrapped) ? { ...agentDiff, mcp_config: wrapped } : agentDiff;
}

function diff(name: string, value: unknown): Json {
  if (isObject(value)) return value;
  throw new InvalidSettings(`${name}: must be an object`);
}

/** Another kind of agent starts from nothing; MCP servers are replaced as a whole. */
function mergeAgentSettings(stored: unknown, patch: Json): Json {
  const base = isObject(stored) ? stored : {};
  const kind = patch['agent_kind'] === 'llm' ? 'openhands' : patch['agent_kind'];
  const switches = typeof kind === 'string' && kind !== (base['agent_kind'] ?? 'openhands');
  const { mcp_config: servers, ...rest } = patch;
  const merged = mergePatch(switches ? { agent_kind: kind } : base, rest);
  if (Object.hasOwn(patch, 'mcp_config')) {
    if (servers === null) Reflect.deleteProperty(merged, 'mcp_config');
    else merged['mcp_config'] = servers;
  }
  return merged;
}

/** JSON merge patch (RFC 7386): objects merge, null removes, everything else replaces. */
export function mergePatch(base: unknown, patch: Json): Json {
  const merged: Json = isObject(base) ? { ...base } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (name === '__proto__') continue;
    if (value === null) Reflect.deleteProperty(merged, name);
    else merged[name] = isObject(value) ? mergePatch(merged[name], value) : value;
  }
  return merged;
}
