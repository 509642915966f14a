/** The agent-server behind a conversation, for what is done there on the conversation's behalf. */
import type { AgentServerClient } from '../../agent-server/client.js';
import type { ConversationRecord } from '../../db/conversation-repository.js';
import type { SandboxRecord, SandboxRepository } from '../../db/sandbox-repository.js';
import { purposes, type Vault } from '../../identity/vault.js';

/** What is asked of an agent-server. */
export type ConversationRuntime = Pick<
  AgentServerClient,
  | 'conversation'
  | 'patchConversation'
  | 'generateTitle'
  | 'deleteConversation'
  | 'countEvents'
  | 'searchEvents'
  | 'allConversations'
  | 'serverInfo'
>;

export interface RuntimeDeps<Client = ConversationRuntime> {
  sandboxes: Pick<SandboxRepository, 'read'>;
  vault: Pick<Vault, 'open'>;
  createClient: (target: { baseUrl: string; sessionApiKey: string }) => Client;
}

/** The agent-server of a conversation; null unless its sandbox is RUNNING. */
export async function runtimeOf<Client>(
  deps: RuntimeDeps<Client>,
  { sandboxId }: Pick<ConversationRecord, 'sandboxId'>,
): Promise<Client | null> {
  const sandbox = await deps.sandboxes.read(sandboxId);
  return sandbox ? runtimeOfSandbox(deps, sandbox) : null;
}

/** The agent-server in a sandbox; null unless that is RUNNING. */
export async function runtimeOfSandbox<Client>(
  { vault, createClient }: Omit<RuntimeDeps<Client>, 'sandboxes'>,
  sandbox: SandboxRecord,
): Promise<Client | null> {
  if (sandbox.deletedAt || sandbox.status !== 'RUNNING' || !sandbox.agentServerUrl) return null;
  const sessionApiKey = await vault.open(purposes.sessionKey(sandbox.id), sandbox.sessionApiKey);
  return createClient({ baseUrl: sandbox.agentServerUrl, sessionApiKey });
}
