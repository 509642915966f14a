import type { Logger } from 'pino';
import type { AgentServerClient } from '../agent-server/client.js';
import type { ExposedUrl } from '../contract/sandbox.js';
import type { ListedConversation, SandboxOfConversation } from '../db/conversation-read-model.js';
import { purposes, type Vault } from '../identity/vault.js';
import { directAddress, exposedTo, type ClientAddress } from './gateway/client-addresses.js';

/** What the API itself asks of an agent-server. */
export type AgentServerCalls = Pick<
  AgentServerClient,
  | 'conversations'
  | 'patchConversation'
  | 'sendMessage'
  | 'downloadFile'
  | 'gitChanges'
  | 'gitDiff'
  | 'skills'
  | 'hooks'
  | 'switchLlm'
  | 'switchAcpModel'
>;

/** Makes the client of one agent-server. */
export type ConnectAgentServer = (target: { baseUrl: string; sessionApiKey: string }) => AgentServerCalls;

export interface AgentServerAccessDeps {
  vault: Pick<Vault, 'openKept'>;
  connect: ConnectAgentServer;
  logger: Pick<Logger, 'warn' | 'error'>;
  /** How clients reach an agent-server; directly unless given. */
  clientAddress?: ClientAddress;
}

/** Reaches the agent-servers behind conversations. */
export interface AgentServerAccess {
  /** The session key of a RUNNING sandbox in the clear; null in every other state (contract 5.1). */
  sessionKey(
    sandbox: Pick<SandboxOfConversation, 'id' | 'status' | 'sealedSessionKey'>,
  ): Promise<string | null>;
  /** The addresses of a RUNNING sandbox as clients are told them; null in every other state. */
  exposedUrls(sandbox: Pick<SandboxOfConversation, 'id' | 'status' | 'exposedUrls'>): ExposedUrl[] | null;
  /** The agent-server of a conversation; null unless its sandbox is RUNNING and has an address. */
  of(conversation: Pick<ListedConversation, 'sandbox'>): Promise<AgentServerCalls | null>;
}

export function createAgentServerAccess({
  vault,
  connect,
  logger,
  clientAddress = directAddress,
}: AgentServerAccessDeps): AgentServerAccess {
  const sessionKey: AgentServerAccess['sessionKey'] = async ({ id, status, sealedSessionKey }) => {
    if (status !== 'RUNNING' || sealedSessionKey === null) return null;
    try {
      return await vault.openKept(purposes.sessionKey(id), sealedSessionKey);
    } catch (error) {
      // One unreadable key must not take a whole list away.
      logger.error({ err: error, sandboxId: id }, 'a session key cannot be decrypted');
      return null;
    }
  };
  return {
    sessionKey,
    exposedUrls: ({ id, status, exposedUrls }) =>
      status === 'RUNNING' && exposedUrls ? exposedTo(clientAddress, id, exposedUrls) : null,
    async of({ sandbox }) {
      if (sandbox.agentServerUrl === null) return null;
      const key = await sessionKey(sandbox);
      return key === null ? null : connect({ baseUrl: sandbox.agentServerUrl, sessionApiKey: key });
    },
  };
}
