import type { RouteDefinition } from '../route.js';
import { legacyAddressRoutes, type LegacyAddressDeps } from './conversation-address-routes.js';
import { legacyListRoutes, type LegacyListDeps } from './conversation-list-routes.js';
import { legacyMessageRoutes } from './conversation-message-routes.js';
import { legacyConversationRoutes, type LegacyConversationDeps } from './conversation-routes.js';
import { legacyStartRoutes, type LegacyStartDeps } from './conversation-start-routes.js';

export type LegacyShimDeps = LegacyListDeps &
  LegacyConversationDeps &
  LegacyStartDeps &
  LegacyAddressDeps &
  Parameters<typeof legacyMessageRoutes>[0];

/** Everything below `/api/conversations`: the clients of 2025-11 at V1 conversations (contract 16.2 to 16.7). */
export const legacyConversationShims = (deps: LegacyShimDeps): RouteDefinition[] => [
  ...legacyListRoutes(deps),
  ...legacyConversationRoutes(deps),
  ...legacyStartRoutes(deps),
  ...legacyMessageRoutes(deps),
  ...legacyAddressRoutes(deps),
];
