import { z } from 'zod';
import { applySettingsUpdate, REPLACED_KEYS } from '../contract/settings.js';
import type { SecretsStore } from '../identity/secrets-store.js';
import type { SettingsStore } from '../identity/settings-store.js';
import { AGENT_SETTINGS_SCHEMA, CONVERSATION_SETTINGS_SCHEMA } from './data.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { settingsView } from './settings-view.js';
import { storable } from './storable-text.js';

export interface SettingsRouteDeps {
  settings: Pick<SettingsStore, 'find' | 'update'>;
  secrets: Pick<SecretsStore, 'providerHosts'>;
}

/** An error in the form `{"error": text}` (contract 1.5, shape C). */
export const shapeC = (status: number, error: string, more: Record<string, unknown> = {}): HttpError =>
  new HttpError(status, error, { error, ...more });

const Stored = z.object({ message: z.string() });

/** Settings in the form of release 1.11 (contract 10.1). */
export const settingsRoutes = ({ settings, secrets }: SettingsRouteDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/settings',
    summary: 'Read the settings; keys are not shown',
    tag: 'Settings',
    guard: 'user',
    responses: {
      200: { description: 'The settings.', schema: z.looseObject({ llm_api_key_set: z.boolean() }) },
      404: { description: 'None are stored yet.' },
    },
    async handle({ user }) {
      const found = await settings.find(user.userId);
      if (!found) throw shapeC(404, 'Settings not found');
      return settingsView(found, await secrets.providerHosts(user.userId));
    },
  }),
  route({
    method: 'post',
    path: '/api/v1/settings',
    summary: 'Change settings; what is not mentioned stays',
    tag: 'Settings',
    guard: 'user',
    body: z.record(z.string(), z.unknown()),
    responses: {
      200: { description: 'Stored.', schema: Stored },
      400: { description: 'The outcome would not be valid; nothing was stored.' },
    },
    async handle({ body, user }) {
      const replaced = REPLACED_KEYS.filter((key) => Object.hasOwn(body, key));
      if (replaced.length > 0) {
        const error = 'Use *_diff nested settings payloads instead of legacy keys';
        throw shapeC(422, error, { keys: replaced });
      }
      const update = storable(body);
      await settings.update(user.userId, (stored) => applySettingsUpdate(stored, update));
      return { message: 'Settings stored' };
    },
  }),
  schemaRoute('agent-schema', 'Describe the settings of an agent', AGENT_SETTINGS_SCHEMA),
  schemaRoute('conversation-schema', 'Describe the settings of a conversation', CONVERSATION_SETTINGS_SCHEMA),
];

const schemaRoute = (name: string, summary: string, schema: unknown): RouteDefinition =>
  route({
    method: 'get',
    path: `/api/v1/settings/${name}`,
    summary,
    tag: 'Settings',
    guard: 'user',
    responses: {
      200: { description: 'Sections and fields.', schema: z.looseObject({ model_name: z.string() }) },
    },
    handle: () => Promise.resolve(schema),
  });
