import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isBranchName, isRepositoryName } from '../contract/git-names.js';
import { GitProvider } from '../contract/primitives.js';
import type { ConversationDeletion } from '../db/conversation-deletion.js';
import type { ConversationReadModel, ListedConversation } from '../db/conversation-read-model.js';
import type { ConversationChange, ConversationRepository } from '../db/conversation-repository.js';
import { ownUserIds, visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { Actors } from './actors.js';
import type { AgentServerAccess } from './agent-server-access.js';
import { othersThing, requireAuthor } from './authorship.js';
import { HttpError } from './http-error.js';
import { storable } from './storable-text.js';

/** How long an agent-server may take to accept a new title, in milliseconds; it waits for a running tool call. */
const TITLE_LIMIT_MS = 30_000;
/** Longest title an agent-server accepts, in characters. */
const TITLE_LENGTH = 200;

/** Body of PATCH (contract 3.7): absent members stay, null clears. */
export const ConversationPatch = z.object({
  title: z.string().nullish(),
  public: z.boolean().nullish(),
  selected_repository: z.string().nullish(),
  selected_branch: z.string().nullish(),
  git_provider: GitProvider.nullish(),
});
export type ConversationPatch = z.infer<typeof ConversationPatch>;

export interface ConversationCommandDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  rows: Pick<ConversationRepository, 'patch'>;
  deletion: Pick<ConversationDeletion, 'markDeleted' | 'isDeleted'>;
  actors: Pick<Actors, 'cancelStart' | 'deleteConversation'>;
  agentServers: Pick<AgentServerAccess, 'of'>;
  logger: Pick<Logger, 'warn'>;
}

/** What users do to their conversations; both the V1 and the legacy routes call it. */
export interface ConversationCommands {
  /**
   * Changes what the patch names; a new title goes on to the agent-server in the background.
   * @returns the conversation afterwards, null when it is missing or not the caller's
   * @throws {HttpError} 400 for values that cannot be right, 403 for another member's conversation
   */
  patch(user: UserContext, id: string, patch: ConversationPatch): Promise<ListedConversation | null>;
  /**
   * Deletes a conversation with its sub-conversations, or cancels the start that would lead to it. When this returns,
   * nothing of it can be seen any more, and its actors are certain to remove the rest.
   * @returns false when it is missing or not the caller's
   * @throws {HttpError} 403 for another member's conversation
   */
  delete(user: UserContext, id: string): Promise<boolean>;
}

export function createConversationCommands(deps: ConversationCommandDeps): ConversationCommands {
  const { conversations, rows, deletion, actors, agentServers, logger } = deps;

  async function pushTitle(listed: ListedConversation, title: string): Promise<void> {
    try {
      await nextTurn(); // the answer to the client does not wait
      const agentServer = await agentServers.of(listed);
      await agentServer?.patchConversation(
        listed.conversation.id,
        { title: title.slice(0, TITLE_LENGTH) },
        { timeoutMs: TITLE_LIMIT_MS },
      );
    } catch (error) {
      logger.warn(
        { err: error, conversationId: listed.conversation.id },
        'an agent-server did not take over a new title',
      );
    }
  }

  return {
    async patch(user, id, given) {
      const patch = storable(given);
      checkPatch(patch);
      const users = await visibleUserIds(user);
      const before = await conversations.read(users, id);
      if (!before) return null;
      requireAuthor(user, before.conversation.createdByUserId, 'conversation');
      const change = changeOf(patch, before.conversation);
      if (Object.keys(change).length === 0) return before;
      await rows.patch(id, change);
      if (change.title) void pushTitle(before, change.title);
      return conversations.read(users, id);
    },

    async delete(user, id) {
      const users = ownUserIds(user);
      const marked = await deletion.markDeleted(users, id);
      if (!marked) {
        // Deleted before, perhaps by a request that could not reach the actor any more.
        if (await deletion.isDeleted(users, id)) await actors.deleteConversation(id);
        else if (await conversations.read(await visibleUserIds(user), id)) throw othersThing('conversation');
        return false;
      }
      const told = await Promise.allSettled([
        ...marked.liveTaskIds.map((taskId) => actors.cancelStart(taskId)),
        ...marked.conversationIds.map((conversationId) => actors.deleteConversation(conversationId)),
      ]);
      const failed = told.find((outcome) => outcome.status === 'rejected');
      if (failed) throw failed.reason;
      return true;
    },
  };
}

function checkPatch({ selected_repository, selected_branch, git_provider }: ConversationPatch): void {
  if (selected_repository != null && !isRepositoryName(selected_repository)) {
    throw new HttpError(
      400,
      'selected_repository has the form owner/repository: exactly one slash and none of ; & | $ ` or line breaks.',
    );
  }
  if (selected_repository === null && (selected_branch != null || git_provider != null)) {
    throw new HttpError(400, 'A branch or provider cannot be set while the repository is cleared.');
  }
  if (selected_branch != null && !isBranchName(selected_branch)) {
    throw new HttpError(400, 'selected_branch is not a legal git branch name.');
  }
}

/** Only what differs from the row: a member that somebody else changes meanwhile is not touched. */
function changeOf(patch: ConversationPatch, row: ListedConversation['conversation']): ConversationChange {
  const wanted: ConversationChange = {
    title: patch.title,
    public: patch.public,
    selectedRepository: patch.selected_repository,
    selectedBranch: patch.selected_branch,
    gitProvider: patch.git_provider,
  };
  return Object.fromEntries(
    Object.entries(wanted).filter(
      ([name, value]) => value !== undefined && value !== row[name as keyof ConversationChange],
    ),
  );
}
