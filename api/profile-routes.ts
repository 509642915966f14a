import { z } from 'zod';
import { LlmSettings } from '../contract/agent-settings.js';
import {
  activateProfile,
  byName,
  deleteProfile,
  profileMissing,
  ProfileName,
  ProfileRefused,
  renameProfile,
  saveProfile,
  StrictLlm,
} from '../contract/llm-profiles.js';
import { hideSecrets, type Json } from '../contract/settings-secrets.js';
import type { SettingsStore } from '../identity/settings-store.js';
import { PROVIDER_ADDRESSES } from './data.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { storable } from './storable-text.js';

export interface ProfileRouteDeps {
  settings: Pick<SettingsStore, 'find' | 'instanceLlm' | 'updateExisting'>;
}

const PATH = '/api/v1/settings/profiles';
const common = { tag: 'Settings', guard: 'user' } as const;
const params = z.object({ name: ProfileName });
const missing = { description: 'There is no such profile, or there are no settings yet.' };

const Changed = z.object({ name: z.string(), message: z.string() });
const Summary = z.object({
  name: z.string(),
  model: z.string(),
  base_url: z.string().nullable(),
  api_key_set: z.boolean(),
});

/** Without `llm`, and without a body, the model of the settings is saved. */
const Save = z
  .object({
    include_secrets: z.boolean().default(true),
    llm: StrictLlm.nullish(),
    preserve_existing_api_key: z.boolean().default(false),
  })
  .nullish();

/** Saved models of the caller (contract 10.2); changes of one user happen one after the other. */
export const profileRoutes = ({ settings }: ProfileRouteDeps): RouteDefinition[] => [
  route({
    ...common,
    method: 'get',
    path: PATH,
    summary: 'List saved models by name, without keys',
    responses: {
      200: {
        description: 'All of them, and which one is in use.',
        schema: z.object({ profiles: z.array(Summary), active_profile: z.string().nullable() }),
      },
    },
    async handle({ user }) {
      const llmProfiles = (await settings.find(user.userId))?.llm_profiles;
      return {
        profiles: Object.entries(byName(llmProfiles?.profiles ?? {})).map(([name, llm]) =>
          summaryOf(name, llm),
        ),
        active_profile: llmProfiles?.active ?? null,
      };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: `${PATH}/{name}`,
    summary: 'Read a saved model, without its keys',
    params,
    responses: {
      200: {
        description: 'The model and how it is called.',
        schema: z.object({
          name: z.string(),
          config: z.looseObject({ model: z.string(), api_key: z.null() }),
          api_key_set: z.boolean(),
        }),
      },
      404: missing,
    },
    async handle({ params: { name }, user }) {
      const profiles = (await settings.find(user.userId))?.llm_profiles.profiles ?? {};
      const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
      if (!profile) throw refusal(profileMissing(name));
      const llm = LlmSettings.parse(profile);
      return { name, config: hideSecrets(llm, 'null'), api_key_set: llm.api_key !== null };
    },
  }),
  route({
    ...common,
    method: 'post',
    path: `${PATH}/{name}`,
    summary: 'Save a model, or the one of the settings, over one of that name',
    params,
    body: Save,
    responses: {
      201: { description: 'Saved.', schema: Changed },
      404: { description: 'There are no settings yet.' },
      409: { description: 'There are as many as there may be.' },
    },
    async handle({ params: { name }, body, user }) {
      const save = {
        name,
        llm: body?.llm ? storable(body.llm) : null,
        instanceLlm: settings.instanceLlm(),
        includeSecrets: body?.include_secrets ?? true,
        preserveKey: body?.preserve_existing_api_key ?? false,
      };
      const after = await changing(() =>
        settings.updateExisting(user.userId, (stored) => saveProfile(stored, save)),
      );
      if (!after) throw notFound('Settings not found');
      return { name, message: `Profile '${name}' saved` };
    },
  }),
  ...changeRoutes({ settings }),
];

const changeRoutes = ({ settings }: ProfileRouteDeps): RouteDefinition[] => [
  route({
    ...common,
    method: 'delete',
    path: `${PATH}/{name}`,
    summary: 'Delete a saved model; one that is not there is fine',
    params,
    responses: { 200: { description: 'It is gone.', schema: Changed } },
    async handle({ params: { name }, user }) {
      await settings.updateExisting(user.userId, (stored) => deleteProfile(stored, name));
      return { name, message: `Profile '${name}' deleted` };
    },
  }),
  route({
    ...common,
    method: 'post',
    path: `${PATH}/{name}/activate`,
    summary: 'Make a saved model that of the settings',
    params,
    responses: {
      200: { description: 'It is in use from now on.', schema: Changed.extend({ model: z.string() }) },
      404: missing,
    },
    async handle({ params: { name }, user }) {
      const after = await changing(() =>
        settings.updateExisting(user.userId, (stored) => activateProfile(stored, name)),
      );
      if (!after) throw refusal(profileMissing(name));
      return {
        name,
        message: `Switched to profile '${name}'`,
        model: after.agent_settings.llm.model,
      };
    },
  }),
  route({
    ...common,
    method: 'post',
    path: `${PATH}/{name}/rename`,
    summary: 'Give a saved model another name',
    params,
    body: z.object({ new_name: ProfileName }),
    responses: {
      200: { description: 'Renamed.', schema: Changed },
      404: missing,
      409: { description: 'The name is taken.' },
    },
    async handle({ params: { name }, body: { new_name: newName }, user }) {
      const after = await changing(() =>
        settings.updateExisting(user.userId, (stored) => renameProfile(stored, name, newName)),
      );
      if (!after) throw refusal(profileMissing(name));
      return { name: newName, message: `Profile '${name}' renamed to '${newName}'` };
    },
  }),
];

function summaryOf(name: string, profile: Json): z.infer<typeof Summary> {
  const { model, base_url, api_key } = LlmSettings.parse(profile);
  const provider = model.split('/', 1)[0] ?? '';
  return {
    name,
    model,
    base_url: base_url ?? PROVIDER_ADDRESSES[provider] ?? null,
    api_key_set: api_key !== null,
  };
}

const STATUS = { missing: 404, taken: 409, limit: 409 } as const;
const refusal = ({ reason, message }: ProfileRefused): HttpError => new HttpError(STATUS[reason], message);

async function changing<Result>(change: () => Promise<Result>): Promise<Result> {
  try {
    return await change();
  } catch (error) {
    throw error instanceof ProfileRefused ? refusal(error) : error;
  }
}
