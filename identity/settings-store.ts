import { eq, sql } from 'drizzle-orm';
import type { LlmSettings } from '../contract/agent-settings.js';
import { profileWithKey } from '../contract/llm-profiles.js';
import { joinSecrets, splitSecrets, type Json } from '../contract/settings-secrets.js';
import { readSettings, type Settings, type StoredSettings } from '../contract/settings.js';
import type { Database } from '../db/database.js';
import { NO_USER, settings } from '../db/schema/index.js';
import { purposes, type Vault } from './vault.js';

/** The model of users who have not chosen one; all null when the instance names none. */
export interface InstanceLlm {
  model: string | null;
  apiKey: string | null;
  baseUrl: string | null;
}

export const NO_INSTANCE_LLM: InstanceLlm = { model: null, apiKey: null, baseUrl: null };

export interface SettingsStoreDeps {
  database: Database;
  vault: Pick<Vault, 'seal' | 'open'>;
  instanceLlm?: InstanceLlm;
  /** Told which stored members are no longer valid and therefore count as not set. */
  onDropped?: (members: string[]) => void;
}

/** Settings per user, keys encrypted apart from the rest; what it returns holds them plain and is never logged. */
export class SettingsStore {
  constructor(private readonly deps: SettingsStoreDeps) {}

  /** The user's settings with every default filled in, those of the instance included. */
  async read(userId: string | null): Promise<Settings> {
    return this.#complete((await this.#load(this.deps.database, userId)) ?? {});
  }

  /** As {@link read}, but null when the user has stored none. */
  async find(userId: string | null): Promise<Settings | null> {
    const stored = await this.#load(this.deps.database, userId);
    return stored && this.#complete(stored);
  }

  /** What {@link read} would return if this were stored. */
  meaningOf(stored: StoredSettings): Settings {
    return this.#complete(stored);
  }

  /**
   * Changes what is stored; changes of one user happen one after the other. What `change` throws changes nothing.
   * @returns the settings after the change.
   */
  async update(userId: string | null, change: (stored: StoredSettings) => StoredSettings): Promise<Settings> {
    return this.#update(userId, (stored) => change(stored ?? {})) as Promise<Settings>;
  }

  /** As {@link update}, but nothing is done, and null returned, when the user has stored none. */
  updateExisting(
    userId: string | null,
    change: (stored: StoredSettings) => StoredSettings,
  ): Promise<Settings | null> {
    return this.#update(userId, (stored) => stored && change(stored));
  }

  /** A saved model of the user with the keys it is called with; null when there is none of that name. */
  async profile(userId: string | null, name: string): Promise<LlmSettings | null> {
    const stored = await this.#load(this.deps.database, userId);
    const profile = stored && profileWithKey(stored, name);
    if (!profile) return null;
    return this.#complete({ agent_settings: { llm: profile } }).agent_settings.llm;
  }

  /** The model of users who have not chosen one, as they might have chosen it: without its key. */
  instanceLlm(): Json {
    const { model, baseUrl } = this.deps.instanceLlm ?? NO_INSTANCE_LLM;
    return { ...(model === null ? {} : { model }), ...(baseUrl === null ? {} : { base_url: baseUrl }) };
  }

  /** What `change` returns is stored, unless it is null. */
  async #update(
    userId: string | null,
    change: (stored: StoredSettings | null) => StoredSettings | null,
  ): Promise<Settings | null> {
    const owner = userId ?? NO_USER;
    const { database, vault } = this.deps;
    return database.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`settings/${owner}`}, 4))`);
      const next = change(await this.#load(tx, userId));
      if (next === null) return null;
      const { open, secret } = splitSecrets(next);
      const row = {
        content: open,
        secretMembers:
          Object.keys(secret).length === 0
            ? null
            : await vault.seal(purposes.settings(owner), JSON.stringify(secret)),
        updatedAt: new Date(),
      };
      await tx
        .insert(settings)
        .values({ userId: owner, ...row })
        .onConflictDoUpdate({ target: settings.userId, set: row });
      return this.#complete(next);
    });
  }

  async #load(database: Pick<Database, 'select'>, userId: string | null): Promise<StoredSettings | null> {
    const owner = userId ?? NO_USER;
    const [row] = await database.select().from(settings).where(eq(settings.userId, owner));
    if (!row) return null;
    if (row.secretMembers === null) return row.content;
    const secret = JSON.parse(
      await this.deps.vault.open(purposes.settings(owner), row.secretMembers),
    ) as Json;
    return joinSecrets(row.content, secret);
  }

  #complete(stored: StoredSettings): Settings {
    const { settings: complete, dropped } = readSettings(stored);
    if (dropped.length > 0) this.deps.onDropped?.(dropped);
    return withInstanceLlm(complete, stored, this.deps.instanceLlm ?? NO_INSTANCE_LLM);
  }
}

/**
 * Fills in the instance's model where the user chose neither model nor address, or those of the instance: its key goes
 * only to its model at its address, never to an address that a user wrote.
 */
function withInstanceLlm(complete: Settings, stored: StoredSettings, instance: InstanceLlm): Settings {
  const chosen = (stored['agent_settings'] as { llm?: { model?: unknown; base_url?: unknown } } | undefined)
    ?.llm;
  const isOther = (given: unknown, own: string | null) => Boolean(given) && given !== own;
  if (instance.model === null) return complete;
  if (isOther(chosen?.model, instance.model) || isOther(chosen?.base_url, instance.baseUrl)) return complete;
  const { llm } = complete.agent_settings;
  return {
    ...complete,
    agent_settings: {
      ...complete.agent_settings,
      llm: {
        ...llm,
        model: instance.model,
        base_url: instance.baseUrl,
        api_key: llm.api_key ?? instance.apiKey,
      },
    },
  };
}
