/** The client of one agent-server: every call that Callboard makes to a sandbox goes through here. */
import { bashCalls } from './bash.js';
import { conversationEventCalls } from './conversation-events.js';
import { conversationCalls } from './conversations.js';
import { AgentServerError } from './errors.js';
import { fileCalls } from './files.js';
import { ServerInfo } from './schemas.js';
import { createTransport } from './transport.js';
import type { CallOptions, TransportSettings } from './transport.js';
import { workspaceCalls } from './workspace.js';

/** How long a health probe may take. */
const ALIVE_MS = 2_000;

export function createAgentServerClient(settings: TransportSettings) {
  const transport = createTransport(settings);
  return {
    baseUrl: transport.baseUrl,

    /** True if it answers its health probe; a frozen, booting or gone one does not. */
    async alive(options: CallOptions = {}): Promise<boolean> {
      try {
        await transport.send({
          method: 'GET',
          path: '/alive',
          idempotent: true,
          timeoutMs: ALIVE_MS,
          ...options,
        });
        return true;
      } catch (error) {
        if (error instanceof AgentServerError) return false;
        throw error;
      }
    },

    /** Version, usable tools, uptime. Needs no key, so it does not prove that this is our server. */
    serverInfo: (options: CallOptions = {}): Promise<ServerInfo> =>
      transport.json({ method: 'GET', path: '/server_info', idempotent: true, ...options }, ServerInfo),

    ...conversationCalls(transport),
    ...conversationEventCalls(transport),
    ...bashCalls(transport),
    ...fileCalls(transport),
    ...workspaceCalls(transport),
  };
}

export type AgentServerClient = ReturnType<typeof createAgentServerClient>;
