import { NO_METRICS, type AppConversation } from '../contract/conversation.js';
import { wireDate } from '../contract/dates.js';
import { dashedId, isUuid } from '../contract/ids.js';
import type { ExposedUrl } from '../contract/sandbox.js';
import type { ListedConversation } from '../db/conversation-read-model.js';
import { isAuthor, type UserContext } from '../identity/user-context.js';
import type { AgentServerAccess } from './agent-server-access.js';
import type { LiveStatus } from './live-status.js';

/**
 * Makes of stored conversations what a client sees, live members included (contract 3.1). Only the author gets the key of
 * the sandbox: its holder may do anything in it.
 */
export interface ConversationViews {
  list(user: UserContext, listed: readonly ListedConversation[]): Promise<AppConversation[]>;
  /** The same for a batch, in which null stands for what is not there. */
  aligned(
    user: UserContext,
    listed: readonly (ListedConversation | null)[],
  ): Promise<(AppConversation | null)[]>;
  one(user: UserContext, listed: ListedConversation): Promise<AppConversation>;
}

export function createConversationViews({
  agentServers,
  liveStatus,
}: {
  agentServers: Pick<AgentServerAccess, 'sessionKey' | 'exposedUrls'>;
  liveStatus: LiveStatus;
}): ConversationViews {
  async function list(user: UserContext, listed: readonly ListedConversation[]): Promise<AppConversation[]> {
    const own = listed.filter(({ conversation }) => isAuthor(user, conversation.createdByUserId));
    const sandboxes = new Map(own.map(({ sandbox }) => [sandbox.id, sandbox]));
    const [statuses, keys] = await Promise.all([
      liveStatus.of(listed),
      Promise.all(
        [...sandboxes.values()].map(
          async (sandbox) => [sandbox.id, await agentServers.sessionKey(sandbox)] as const,
        ),
      ),
    ]);
    const keyOf = new Map(keys);
    return listed.map((item) => ({
      ...storedMembers(item),
      ...live(
        item,
        agentServers.exposedUrls(item.sandbox) ?? [],
        isAuthor(user, item.conversation.createdByUserId) ? (keyOf.get(item.sandbox.id) ?? null) : null,
      ),
      execution_status: statuses.get(item.conversation.id) ?? null,
      ...profile(item.conversation),
    }));
  }

  return {
    list,
    async aligned(user, listed) {
      const present = listed.filter((item) => item !== null);
      const shown = new Map(
        (await list(user, present)).map((conversation) => [conversation.id, conversation]),
      );
      return listed.map((item) => (item ? (shown.get(item.conversation.id) ?? null) : null));
    },
    async one(user, listed) {
      const [conversation] = await list(user, [listed]);
      if (!conversation) throw new Error('a view of one conversation came out empty');
      return conversation;
    },
  };
}

/** The members that are stored; the others are known only while the sandbox runs. */
export type StoredMembers = Omit<
  AppConversation,
  | 'sandbox_status'
  | 'execution_status'
  | 'conversation_url'
  | 'session_api_key'
  | 'acp_server'
  | 'launched_agent_profile'
>;

export function storedMembers({ conversation: row, subConversationIds }: ListedConversation): StoredMembers {
  return {
    id: row.id,
    created_by_user_id: row.createdByUserId,
    sandbox_id: row.sandboxId,
    selected_repository: row.selectedRepository,
    selected_branch: row.selectedBranch,
    git_provider: row.gitProvider,
    title: row.title,
    trigger: row.trigger,
    pr_number: row.prNumber,
    llm_model: row.llmModel,
    agent_kind: row.agentKind,
    metrics: row.metrics ?? NO_METRICS,
    parent_conversation_id: row.parentConversationId,
    sub_conversation_ids: subConversationIds,
    public: row.public,
    tags: row.tags,
    created_at: wireDate(row.createdAt),
    updated_at: wireDate(row.updatedAt),
  };
}

/** Address and key only while the sandbox is RUNNING and exposes an address. */
function live(
  { conversation, sandbox }: ListedConversation,
  exposed: readonly ExposedUrl[],
  sessionKey: string | null,
): Pick<AppConversation, 'sandbox_status' | 'execution_status' | 'conversation_url' | 'session_api_key'> {
  const agentServer = exposed.find(({ name }) => name === 'AGENT_SERVER');
  return {
    sandbox_status: sandbox.status,
    execution_status: null,
    conversation_url: agentServer ? `${agentServer.url}/api/conversations/${conversation.id}` : null,
    session_api_key: exposed.length > 0 ? sessionKey : null,
  };
}

/** What the start flow left in the tags about the agent that was launched. */
function profile({
  agentKind,
  tags,
}: ListedConversation['conversation']): Pick<AppConversation, 'acp_server' | 'launched_agent_profile'> {
  const profileId = tags['agentprofileid'];
  const revision = tags['agentprofilerevision'] ?? '';
  return {
    acp_server: agentKind === 'acp' ? (tags['acpserver'] ?? null) : null,
    launched_agent_profile:
      profileId !== undefined && isUuid(profileId)
        ? {
            agent_profile_id: dashedId(profileId),
            revision: /^\d{1,9}$/.test(revision) ? Number(revision) : 0,
          }
        : null,
  };
}
