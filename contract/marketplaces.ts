/** Where a user's agents get skills and plugins from, besides the project and this server. */
import type { Settings } from './settings.js';

/**
 * The user's marketplaces as an agent-server takes them: an own one in the place of an inherited one of its name, and
 * without `scope`, which is ours to know. Null where there is none, because an empty list turns others off.
 */
export function marketplacesOf(
  settings: Pick<Settings, 'registered_marketplaces' | 'inherited_marketplaces'>,
): Record<string, unknown>[] | null {
  const own = new Set(settings.registered_marketplaces.map(({ name }) => name));
  const inherited = settings.inherited_marketplaces.filter(({ name }) => !own.has(name));
  const all = [...inherited, ...settings.registered_marketplaces].map(
    ({ scope: _scope, ...marketplace }) => marketplace,
  );
  return all.length === 0 ? null : all;
}
