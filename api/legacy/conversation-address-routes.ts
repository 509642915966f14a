/** Addresses inside the sandbox of a conversation, for older clients (contract 16.7). */
import { z } from 'zod';
import type { ExposedUrl } from '../../contract/sandbox.js';
import type { UserContext } from '../../identity/user-context.js';
import type { AgentServerAccess } from '../agent-server-access.js';
import { requireAuthor } from '../authorship.js';
import { route, type RouteDefinition } from '../route.js';
import {
  LEGACY_CONVERSATION,
  LegacyPath,
  requireConversation,
  type LookupDeps,
} from './conversation-lookup.js';

export interface LegacyAddressDeps extends Pick<LookupDeps, 'conversations'> {
  agentServers: Pick<AgentServerAccess, 'exposedUrls'>;
}

const common = { method: 'get', tag: 'Legacy', guard: 'user', params: LegacyPath } as const;
const REFUSED = {
  400: { description: 'The id cannot be one.' },
  403: { description: 'It belongs to another member of the organization.' },
  404: { description: 'There is no such conversation.' },
};

export function legacyAddressRoutes(deps: LegacyAddressDeps): RouteDefinition[] {
  /** For the author alone: the address of an editor holds the key of the sandbox. */
  async function exposed(user: UserContext, given: string): Promise<ExposedUrl[]> {
    const { conversation, sandbox } = await requireConversation(deps, user, given);
    requireAuthor(user, conversation.createdByUserId, 'conversation');
    return deps.agentServers.exposedUrls(sandbox) ?? [];
  }
  return [
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/vscode-url`,
      summary: 'Tell where the editor of a conversation is; null while there is none',
      responses: {
        200: { description: 'The address.', schema: z.object({ vscode_url: z.string().nullable() }) },
        ...REFUSED,
      },
      async handle({ params, user }) {
        const found = (await exposed(user, params.conversation_id)).find(({ name }) => name === 'VSCODE');
        return { vscode_url: found?.url ?? null };
      },
    }),
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/web-hosts`,
      summary: 'Tell where apps inside the sandbox of a conversation are reached',
      responses: {
        200: {
          description: 'Ports by address.',
          schema: z.object({ hosts: z.record(z.string(), z.int()) }),
        },
        ...REFUSED,
      },
      async handle({ params, user }) {
        const apps = (await exposed(user, params.conversation_id)).filter(({ name }) =>
          name.startsWith('WORKER_'),
        );
        return { hosts: Object.fromEntries(apps.map(({ url, port }) => [url, port])) };
      },
    }),
  ];
}
