/** Settings as clients see them: in both forms, and never with a key in them unless a sandbox may have it. */
import type { GitProvider } from '../contract/primitives.js';
import { hideSecrets } from '../contract/settings-secrets.js';
import { flatMembers, toFlatSettings } from '../contract/settings-flat.js';
import type { Settings } from '../contract/settings.js';

/** What is set without being shown. */
function whatIsSet(settings: Settings, hosts: ReadonlyMap<GitProvider, string | null>) {
  return {
    provider_tokens_set: Object.fromEntries(hosts),
    llm_api_key_set: settings.agent_settings.llm.api_key !== null,
    search_api_key_set: settings.search_api_key !== null,
  };
}

/** The members of release 1.11, keys plain. */
function nested({ enable_solvability_analysis: _flatOnly, ...settings }: Settings) {
  return {
    ...settings,
    secrets_store: { provider_tokens: {} },
    registered_marketplaces: settings.registered_marketplaces.map((marketplace) => ({
      ...marketplace,
      scope: 'personal' as const,
    })),
  };
}

/** Answer of `GET /api/v1/settings`: keys are null, whether they are set is told beside (contract 10.1). */
export const settingsView = (settings: Settings, hosts: ReadonlyMap<GitProvider, string | null>) => ({
  ...hideSecrets(nested(settings), 'null'),
  ...whatIsSet(settings, hosts),
});

/** Answer of `GET /api/settings` (contract 16.9). */
export const flatSettingsView = (settings: Settings, hosts: ReadonlyMap<GitProvider, string | null>) => ({
  ...hideSecrets(toFlatSettings(settings), 'null'),
  ...whatIsSet(settings, hosts),
});

/** Answer of `GET /api/v1/users/me`: one object for the clients of both releases (contract 9). */
export function userView(
  settings: Settings,
  userId: string | null,
  { exposeSecrets }: { exposeSecrets: boolean },
) {
  const whole = { ...flatMembers(settings), ...nested(settings) };
  return { ...(exposeSecrets ? whole : hideSecrets(whole, 'masked')), id: userId };
}
