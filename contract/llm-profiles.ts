/** Saved models of a user, as part of the settings, and what is done to them (contract 10.2). */
import { z } from 'zod';
import { LlmSettings } from './agent-settings.js';
import { isObject, restoreMasked, splitSecrets, type Json } from './settings-secrets.js';
import { readSettings, validSettings, type StoredSettings } from './settings.js';

/** Most profiles of one user. */
export const MOST_PROFILES = 10;

/** What a profile may be called, in paths and bodies. */
export const ProfileName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/)
  // Names of members that every object has already.
  .refine((name) => name !== '__proto__', { error: 'is not available as a name' });

/**
 * A model in the body of a request. A member that nobody knows is a mistake, and told; what is not sent is not filled
 * in, so that defaults are not frozen into what is stored.
 */
export const StrictLlm = z.strictObject(
  Object.fromEntries(
    Object.entries(LlmSettings.shape).map(([name, member]) => [name, asSent(member).optional()]),
  ),
);

/** Without what is made of it and what stands for it when it is absent. */
function asSent(member: z.core.$ZodType): z.ZodType {
  if (member instanceof z.ZodPipe) return asSent(member.in);
  if (member instanceof z.ZodDefault) return asSent(member.unwrap());
  return member as z.ZodType;
}

/** A change was refused; the text is for people. */
export class ProfileRefused extends Error {
  override readonly name = 'ProfileRefused';

  constructor(
    readonly reason: 'missing' | 'taken' | 'limit',
    message: string,
  ) {
    super(message);
  }
}

export const profileMissing = (name: string): ProfileRefused =>
  new ProfileRefused('missing', `Profile '${name}' not found`);

interface Profiles {
  profiles: Record<string, Json>;
  active: string | null;
}

/** What is to be saved under a name. */
export interface ProfileToSave {
  name: string;
  /** As it was sent, validated; null to save the model of the settings. */
  llm: Json | null;
  /** The model of the settings where the user chose none: that of the instance, without its key. */
  instanceLlm: Json;
  /** Whether keys are stored with it. */
  includeSecrets: boolean;
  /** Whether the key stays that the profile has, or the lack of one. */
  preserveKey: boolean;
}

/**
 * Saves a profile over one of its name. A secret that is not sent, or sent back masked, stays as it is stored.
 * @throws {ProfileRefused} | {InvalidSettings}
 */
export function saveProfile(stored: StoredSettings, save: ProfileToSave): StoredSettings {
  const { profiles, active } = profilesIn(stored);
  const existing = own(profiles, save.name);
  if (!existing && Object.keys(profiles).length >= MOST_PROFILES) {
    throw new ProfileRefused(
      'limit',
      `Profile limit reached (${MOST_PROFILES}). Delete a profile before saving a new one.`,
    );
  }
  const sent = save.llm === null ? null : keepingSecrets(save.llm, existing ?? {});
  let llm = sent ?? chosenLlm(stored, save.instanceLlm);
  if (save.preserveKey && existing) llm = { ...without(llm, 'api_key'), ...only(existing, 'api_key') };
  if (!save.includeSecrets) llm = splitSecrets(llm).open;
  return reconciled({ ...stored, llm_profiles: { profiles: { ...profiles, [save.name]: llm }, active } });
}

/** Removes a profile; the first of the others by name becomes the active one if it was. One that is not there is fine. */
export function deleteProfile(stored: StoredSettings, name: string): StoredSettings {
  const { profiles, active } = profilesIn(stored);
  if (!own(profiles, name)) return stored;
  const rest = without(profiles, name) as Record<string, Json>;
  const next = { ...stored, llm_profiles: { profiles: rest, active: active === name ? null : active } };
  const [first] = Object.keys(rest);
  return active === name && first !== undefined ? activateProfile(next, first) : next;
}

/**
 * Makes a profile the model of the settings; one without a key leaves the key that is there.
 * @throws {ProfileRefused} | {InvalidSettings}
 */
export function activateProfile(stored: StoredSettings, name: string): StoredSettings {
  const { profiles } = profilesIn(stored);
  const profile = own(profiles, name);
  if (!profile) throw profileMissing(name);
  const next = {
    ...stored,
    agent_settings: {
      ...(isObject(stored['agent_settings']) ? stored['agent_settings'] : {}),
      llm: withKey(profile, currentLlm(stored)),
    },
    llm_profiles: { profiles, active: name },
  };
  validSettings(next);
  return next;
}

/**
 * Gives a profile another name.
 * @throws {ProfileRefused}
 */
export function renameProfile(stored: StoredSettings, name: string, newName: string): StoredSettings {
  const { profiles, active } = profilesIn(stored);
  if (!own(profiles, name)) throw profileMissing(name);
  if (name === newName) return stored;
  if (own(profiles, newName)) throw new ProfileRefused('taken', `Profile '${newName}' already exists`);
  const renamed = Object.fromEntries(
    Object.entries(profiles).map(([key, profile]) => [key === name ? newName : key, profile]),
  );
  return { ...stored, llm_profiles: { profiles: renamed, active: active === name ? newName : active } };
}

/** One profile with its keys, that of the settings where it has none; null when there is none of that name. */
export function profileWithKey(stored: StoredSettings, name: string): Json | null {
  const profile = own(profilesIn(stored).profiles, name);
  return profile ? withKey(profile, currentLlm(stored)) : null;
}

/** What is stored, of members that are still valid. */
function profilesIn(stored: StoredSettings): Profiles {
  const { profiles, active } = readSettings(stored).settings.llm_profiles;
  return { profiles: byName(profiles), active };
}

/** The database keeps no order of members. */
export const byName = <Value>(profiles: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(profiles).sort(([a], [b]) => (a < b ? -1 : 1)));

const own = (profiles: Record<string, Json>, name: string): Json | undefined =>
  Object.hasOwn(profiles, name) ? profiles[name] : undefined;

function currentLlm(stored: StoredSettings): Json {
  const agent = stored['agent_settings'];
  return isObject(agent) && isObject(agent['llm']) ? agent['llm'] : {};
}

/** The model of the settings; where the user chose neither model nor address, those of the instance are written down. */
function chosenLlm(stored: StoredSettings, instanceLlm: Json): Json {
  const current = currentLlm(stored);
  return current['model'] || current['base_url'] ? current : { ...current, ...instanceLlm };
}

const withKey = (profile: Json, current: Json): Json =>
  profile['api_key'] ? profile : { ...without(profile, 'api_key'), ...only(current, 'api_key') };

const without = (object: Json, name: string): Json =>
  Object.fromEntries(Object.entries(object).filter(([other]) => other !== name));
const only = (object: Json, name: string): Json =>
  object[name] === undefined || object[name] === null ? {} : { [name]: object[name] };

/** Null is how clients are shown a secret, so it leaves one as it is; an empty text clears it. */
function keepingSecrets(sent: Json, existing: Json): Json {
  const before = splitSecrets(existing).secret;
  const given = Object.fromEntries(
    Object.entries(sent).filter(([name, value]) => !(value === null && name in before)),
  );
  const profiles = (llm: Json) => ({ profiles: { it: llm } });
  const restored = restoreMasked(profiles(given), profiles(existing))['profiles'] as { it: Json };
  return { ...before, ...restored.it };
}

/** Forgets the active profile if the model of the settings is another one now. */
function reconciled(stored: StoredSettings): StoredSettings {
  validSettings(stored);
  const { profiles, active } = profilesIn(stored);
  const profile = active === null ? undefined : own(profiles, active);
  const current = currentLlm(stored);
  if (profile && sameLlm(withKey(profile, current), current)) return stored;
  return { ...stored, llm_profiles: { profiles, active: null } };
}

const sameLlm = (a: Json, b: Json): boolean =>
  JSON.stringify(LlmSettings.safeParse(a).data) === JSON.stringify(LlmSettings.safeParse(b).data);
