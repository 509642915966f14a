/** Settings as the 2025-11 clients read and write them (contract 16.8, 16.9). */
import { z } from 'zod';
import { SECURITY_ANALYZERS } from '../../contract/settings.js';
import { applyFlatUpdate, FlatSettingsUpdate } from '../../contract/settings-flat.js';
import type { SecretsStore } from '../../identity/secrets-store.js';
import type { SettingsStore } from '../../identity/settings-store.js';
import { VERIFIED_MODELS } from '../data.js';
import { route, type RouteDefinition } from '../route.js';
import { shapeC } from '../settings-routes.js';
import { flatSettingsView } from '../settings-view.js';
import { storable } from '../storable-text.js';

export interface LegacySettingsDeps {
  settings: Pick<SettingsStore, 'find' | 'read' | 'update'>;
  secrets: Pick<SecretsStore, 'providerHosts'>;
}

const common = { tag: 'Legacy', guard: 'user' } as const;
const names = (description: string) => ({ 200: { description, schema: z.array(z.string()) } });

export const legacySettingsRoutes = ({ settings, secrets }: LegacySettingsDeps): RouteDefinition[] => [
  route({
    ...common,
    method: 'get',
    path: '/api/settings',
    summary: 'Read the flat settings; keys are not shown',
    responses: {
      200: { description: 'The settings.', schema: z.looseObject({ llm_api_key_set: z.boolean() }) },
      404: { description: 'None are stored yet.' },
    },
    async handle({ user }) {
      const found = await settings.find(user.userId);
      if (!found) throw shapeC(404, 'Settings not found');
      return flatSettingsView(found, await secrets.providerHosts(user.userId));
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/api/settings',
    summary: 'Store the flat settings as a whole',
    body: FlatSettingsUpdate,
    responses: {
      200: { description: 'Stored.', schema: z.object({ message: z.string() }) },
      400: { description: 'They do not go together, or with what is stored.' },
    },
    async handle({ body, user }) {
      const update = storable(body);
      await settings.update(user.userId, (stored) => applyFlatUpdate(stored, update));
      return { message: 'Settings stored' };
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/api/reset-settings',
    summary: 'Gone since long',
    responses: { 410: { description: 'Always.' } },
    handle: () => Promise.reject(shapeC(410, 'Reset settings functionality has been removed.')),
  }),
  route({
    ...common,
    method: 'get',
    path: '/api/options/models',
    summary: 'Name models, provider first',
    responses: names('Any other model can be used too.'),
    async handle({ user }) {
      const { model } = (await settings.read(user.userId)).agent_settings.llm;
      const verified = Object.entries(VERIFIED_MODELS).flatMap(([provider, models]) =>
        models.map((name) => `${provider}/${name}`),
      );
      return [...new Set([...verified, model])].sort();
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/api/options/agents',
    summary: 'Name the agents',
    responses: names('The agents.'),
    handle: () => Promise.resolve(['CodeActAgent']),
  }),
  route({
    ...common,
    method: 'get',
    path: '/api/options/security-analyzers',
    summary: 'Name the security analyzers',
    responses: names('The analyzers.'),
    handle: () => Promise.resolve([...SECURITY_ANALYZERS]),
  }),
];
