/** The agent-server behind a conversation, for routes that look into its sandbox (contract 3.10, 3.11). */
import { AgentServerError } from '../agent-server/errors.js';
import { dashedId } from '../contract/ids.js';
import type { ConversationReadModel, ListedConversation } from '../db/conversation-read-model.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { AgentServerAccess, AgentServerCalls } from './agent-server-access.js';
import { HttpError, notFound } from './http-error.js';

export interface RuntimeDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  agentServers: Pick<AgentServerAccess, 'of'>;
}

/** Why there is nobody to ask: no such conversation of the caller, no record of its sandbox, or not in a state for it. */
export type Unreachable = 'no conversation' | 'no sandbox' | 'not ready';

export type Runtime =
  | { state: 'running'; listed: ListedConversation; agentServer: AgentServerCalls }
  | { state: 'paused'; listed: ListedConversation }
  | { state: 'unreachable'; reason: Unreachable };

/** Finds the agent-server of a conversation (hex id) that the caller may see. */
export async function runtimeOf(
  { conversations, agentServers }: RuntimeDeps,
  user: UserContext,
  conversationId: string,
): Promise<Runtime> {
  const listed = await conversations.read(await visibleUserIds(user), conversationId);
  if (!listed) return { state: 'unreachable', reason: 'no conversation' };
  const { sandbox } = listed;
  if (!sandbox.known || sandbox.deleted) return { state: 'unreachable', reason: 'no sandbox' };
  if (sandbox.status === 'PAUSED') return { state: 'paused', listed };
  const agentServer = sandbox.status === 'RUNNING' ? await agentServers.of(listed) : null;
  return agentServer
    ? { state: 'running', listed, agentServer }
    : { state: 'unreachable', reason: 'not ready' };
}

/**
 * The same where only a running one will do.
 * @param paused what to say when it is paused
 * @throws {HttpError} 404 or 409
 */
export async function runningRuntime(
  deps: RuntimeDeps,
  user: UserContext,
  conversationId: string,
  paused: string,
): Promise<Extract<Runtime, { state: 'running' }>> {
  const runtime = await runtimeOf(deps, user, conversationId);
  if (runtime.state === 'paused') throw new HttpError(409, paused);
  if (runtime.state === 'unreachable') throw notReachable(conversationId);
  return runtime;
}

/** 404 of a conversation (hex id) whose agent-server cannot be asked. */
export const notReachable = (conversationId: string): HttpError =>
  notFound(`Conversation ${dashedId(conversationId)} is not reachable`);

/** A sentence about a call to an agent-server that failed; nothing of what the agent-server said is in it. */
export function agentServerTrouble({ kind, status }: AgentServerError): string {
  if (kind === 'http' && status !== null && status >= 400) return `Agent server error: ${status}`;
  if (kind === 'http') return 'Agent server returned unexpected response.';
  return 'Failed to reach agent server.';
}

/**
 * Asks an agent-server for a client.
 * @throws {HttpError} 502 when it does not answer as it should, 413 when it has more to say than is taken
 */
export async function askedFor<Answer>(question: Promise<Answer>): Promise<Answer> {
  try {
    return await question;
  } catch (error) {
    if (!(error instanceof AgentServerError)) throw error;
    const failure =
      error.kind === 'oversize'
        ? new HttpError(413, TOO_LARGE)
        : new HttpError(502, agentServerTrouble(error));
    // For the log; the session key is not in it.
    throw Object.assign(failure, { cause: error });
  }
}

export const TOO_LARGE = 'That is too large to be shown here: look at it in the sandbox.';
