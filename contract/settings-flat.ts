/** Settings in the flat form of the 2025-11 clients, over the same stored object (contract 16.9). */
import { z } from 'zod';
import type { McpServer } from './agent-settings.js';
import { isObject, maskAddress, restoreMasked, type Json } from './settings-secrets.js';
import { checked, mergePatch, SECURITY_ANALYZERS, type Settings, type StoredSettings } from './settings.js';

const text = () => z.string().nullish();
const key = () => z.string().nullish();
const UrlServer = z.union([
  z.string().transform((url) => ({ url, api_key: null, timeout: null })),
  z.object({
    url: z.string().min(1),
    api_key: key().transform((value) => value || null),
    timeout: z
      .number()
      .nullish()
      .transform((value) => value ?? null),
  }),
]);
const StdioServer = z.object({
  name: z.string().min(1),
  command: z.string().min(1),
  args: z
    .array(z.string())
    .nullish()
    .transform((args) => args ?? []),
  env: z
    .record(z.string(), z.string())
    .nullish()
    .transform((env) => env ?? {}),
});
const FlatMcpConfig = z.object({
  sse_servers: z.array(UrlServer).default([]),
  stdio_servers: z.array(StdioServer).default([]),
  shttp_servers: z.array(UrlServer).default([]),
});
type FlatMcpConfig = z.output<typeof FlatMcpConfig>;

/** Body of `POST /api/settings`: the whole object; unknown members are ignored. */
export const FlatSettingsUpdate = z.object({
  language: text(),
  agent: text(),
  max_iterations: z.int().min(1).nullish(),
  security_analyzer: z
    .union([z.enum(SECURITY_ANALYZERS), z.literal('')])
    .nullish()
    .transform((value) => (value === '' ? null : value)),
  confirmation_mode: z.boolean().nullish(),
  llm_model: text(),
  llm_api_key: key(),
  llm_base_url: text(),
  remote_runtime_resource_factor: z.number().nullish(),
  enable_default_condenser: z.boolean().nullish(),
  condenser_max_size: z.int().min(20).nullish(),
  enable_sound_notifications: z.boolean().nullish(),
  enable_proactive_conversation_starters: z.boolean().nullish(),
  enable_solvability_analysis: z.boolean().nullish(),
  user_consents_to_analytics: z.boolean().nullish(),
  sandbox_base_container_image: text(),
  sandbox_runtime_container_image: text(),
  mcp_config: FlatMcpConfig.nullish(),
  search_api_key: key(),
  sandbox_api_key: key(),
  max_budget_per_task: z.number().min(0).nullish(),
  email: text(),
  email_verified: z.boolean().nullish(),
  git_user_name: text(),
  git_user_email: text(),
});
export type FlatSettingsUpdate = z.output<typeof FlatSettingsUpdate>;

/** Members that have the same name and meaning in both forms. */
const SAME = [
  'language',
  'remote_runtime_resource_factor',
  'enable_sound_notifications',
  'enable_proactive_conversation_starters',
  'enable_solvability_analysis',
  'user_consents_to_analytics',
  'sandbox_base_container_image',
  'sandbox_runtime_container_image',
  'search_api_key',
  'sandbox_api_key',
  'max_budget_per_task',
  'email',
  'email_verified',
  'git_user_name',
  'git_user_email',
] as const;
/** Null leaves these as they are; an empty text clears them. */
const KEPT_WHEN_NULL = new Set<string>(['search_api_key', 'sandbox_api_key', 'user_consents_to_analytics']);

/** The members of the flat form that the 1.11 form lacks, with plain keys: see `hideSecrets`. */
export function flatMembers(settings: Settings) {
  const { agent_settings: agent, conversation_settings: conversation } = settings;
  const openHands = agent.agent_kind === 'openhands' ? agent : null;
  return {
    agent: openHands?.agent ?? null,
    max_iterations: conversation.max_iterations,
    security_analyzer: conversation.security_analyzer,
    confirmation_mode: conversation.confirmation_mode,
    llm_model: agent.llm.model,
    llm_api_key: agent.llm.api_key,
    llm_base_url: agent.llm.base_url,
    enable_default_condenser: openHands?.condenser.enabled ?? true,
    condenser_max_size: openHands?.condenser.max_size ?? null,
    mcp_config: flatMcp(agent.mcp_config),
    enable_solvability_analysis: settings.enable_solvability_analysis,
  };
}

/** The whole flat object, with plain keys. */
export const toFlatSettings = (settings: Settings) => ({
  ...Object.fromEntries(SAME.map((name) => [name, settings[name]])),
  v1_enabled: settings.v1_enabled,
  ...flatMembers(settings),
});

/**
 * Applies the body of `POST /api/settings`: what is null or absent goes back to its default, except the model, its key
 * and address, the other keys, the consent, and MCP servers that are not mentioned at all.
 * Settings that the flat form cannot express stay as they are.
 */
export function applyFlatUpdate(stored: StoredSettings, update: FlatSettingsUpdate): StoredSettings {
  const next: StoredSettings = { ...stored };
  const same = restoreMasked(Object.fromEntries(SAME.map((name) => [name, update[name] ?? null])), stored);
  for (const name of SAME) {
    const value = same[name];
    if (value === null && KEPT_WHEN_NULL.has(name)) continue;
    if (value === null || value === '') Reflect.deleteProperty(next, name);
    else next[name] = value;
  }
  const llm = restoreMasked({ agent_settings: { llm: { api_key: update.llm_api_key ?? null } } }, stored) as {
    agent_settings: { llm: { api_key: string | null } };
  };
  const isAcp = isObject(stored['agent_settings']) && stored['agent_settings']['agent_kind'] === 'acp';
  next['agent_settings'] = mergePatch(stored['agent_settings'], {
    llm: {
      ...given('model', update.llm_model || undefined),
      ...given('api_key', llm.agent_settings.llm.api_key ?? undefined),
      ...given('base_url', update.llm_base_url ?? undefined),
    },
    ...(isAcp
      ? {}
      : {
          agent: update.agent || null,
          condenser: {
            enabled: update.enable_default_condenser ?? null,
            max_size: update.condenser_max_size ?? null,
          },
        }),
  });
  if (update.mcp_config !== undefined) {
    const agent = next['agent_settings'] as Json;
    const before = isObject(agent['mcp_config']) ? agent['mcp_config'] : {};
    agent['mcp_config'] = update.mcp_config === null ? {} : namedMcp(update.mcp_config, before);
  }
  next['conversation_settings'] = mergePatch(stored['conversation_settings'], {
    max_iterations: update.max_iterations ?? null,
    confirmation_mode: update.confirmation_mode ?? null,
    security_analyzer: update.security_analyzer ?? null,
  });
  return checked(next, stored);
}

const given = (name: string, value: string | undefined): Json =>
  value === undefined ? {} : { [name]: value };

/** MCP servers as the 2025-11 form groups them; credentials of other kinds than a key do not show. */
function flatMcp(servers: Readonly<Record<string, McpServer>>): FlatMcpConfig {
  const flat: FlatMcpConfig = { sse_servers: [], stdio_servers: [], shttp_servers: [] };
  for (const [name, server] of Object.entries(servers)) {
    if (server.url) {
      const entry = { url: server.url, api_key: keyOf(server), timeout: server.timeout ?? null };
      (server.transport === 'sse' ? flat.sse_servers : flat.shttp_servers).push(entry);
    } else if (server.command) {
      flat.stdio_servers.push({
        name,
        command: server.command,
        args: server.args ?? [],
        env: server.env ?? {},
      });
    }
  }
  return flat;
}

const keyOf = ({ auth }: McpServer): string | null =>
  auth && (auth.strategy === 'bearer' || auth.strategy === 'api_key') && typeof auth['value'] === 'string'
    ? auth['value']
    : null;

/**
 * The way back: servers get the names they had, by their address, and keep what the flat form cannot express.
 * A masked address, key or variable stands for the stored one.
 */
function namedMcp(flat: FlatMcpConfig, before: Json): Json {
  const named: Json = {};
  const free = (base: string): string => {
    for (let count = 0; ; count++) {
      const name = count === 0 ? base : `${base}_${count}`;
      if (!Object.hasOwn(named, name)) return name;
    }
  };
  const addUrl = (base: 'sse' | 'shttp', { url, api_key, timeout }: FlatMcpConfig['sse_servers'][number]) => {
    const known = Object.entries(before).find(
      ([name, server]) =>
        !Object.hasOwn(named, name) &&
        isObject(server) &&
        typeof server['url'] === 'string' &&
        (server['url'] === url || maskAddress(server['url']) === url) &&
        (server['transport'] === 'sse') === (base === 'sse'),
    );
    const kept = known && isObject(known[1]) ? known[1] : {};
    const restored = restoredServer({ auth: { value: api_key } }, kept) as { auth: { value: string | null } };
    named[known?.[0] ?? free(base)] = {
      ...withoutKey(kept),
      url: typeof kept['url'] === 'string' ? kept['url'] : url,
      transport: base === 'sse' ? 'sse' : (kept['transport'] ?? 'streamable-http'),
      ...(timeout === null ? {} : { timeout }),
      ...(restored.auth.value === null ? {} : { auth: credential(kept['auth'], restored.auth.value) }),
    };
  };
  for (const { name, command, args, env } of flat.stdio_servers) {
    const kept = isObject(before[name]) ? before[name] : {};
    named[free(name)] = { ...kept, ...restoredServer({ command, args, env }, kept) };
  }
  for (const server of flat.sse_servers) addUrl('sse', server);
  for (const server of flat.shttp_servers) addUrl('shttp', server);
  return named;
}

/** What a client sent for a server, masks replaced by what they stand for. */
const restoredServer = (incoming: Json, kept: Json): Json => {
  const whole = restoreMasked({ mcp_config: { server: incoming } }, { mcp_config: { server: kept } });
  return (whole['mcp_config'] as { server: Json }).server;
};

/** A server without the credential that the flat form can express; others it keeps. */
const withoutKey = (server: Json): Json =>
  isObject(server['auth']) && ['bearer', 'api_key'].includes(String(server['auth']['strategy']))
    ? Object.fromEntries(Object.entries(server).filter(([name]) => name !== 'auth'))
    : server;

/** A key of the flat form is a bearer token, unless the server was set up otherwise. */
const credential = (kept: unknown, value: string): Json => ({
  ...(isObject(kept) && kept['strategy'] === 'api_key' ? kept : { strategy: 'bearer' }),
  value,
});
