import { isDeepStrictEqual } from 'node:util';
import { dashedId } from '../contract/ids.js';
import { MASK } from '../contract/masking.js';
import { hideSecrets } from '../contract/settings-secrets.js';
import { maskPlugins, writeStartSecrets } from '../contract/start-secrets.js';
import type { EffectiveStartRequest, PluginSpec, StartRequest } from '../contract/start-task.js';
import type { ConversationReadModel } from '../db/conversation-read-model.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import { requireAuthor } from './authorship.js';
import { HttpError, notFound } from './http-error.js';
import { storable } from './storable-text.js';
import { suggestedTaskPrompt } from './suggested-task-prompts.js';

/** A request as it is stored: everything inherited or derived is filled in, secrets are apart. */
export interface PreparedStart {
  /** Ids as the contract spells them; values of secrets and of plugins' parameters masked. */
  request: EffectiveStartRequest;
  /** What was masked, in the clear, to be sealed at once; null when there was nothing. */
  secrets: string | null;
}

/**
 * Works out what a start request asks for, before anything is stored (contract 3.3, 3.13).
 * @throws {HttpError} 404 for a parent that is not there, 403 for another member's, 400 for parts that do not go together
 */
export async function prepareStart(
  given: StartRequest,
  user: UserContext,
  conversations: Pick<ConversationReadModel, 'read'>,
): Promise<PreparedStart> {
  const { secrets, ...request } = storable(given);
  const own = withSuggestedTask(request);
  const inherited = await inheritedFromParent(own, user, conversations);
  return {
    request: {
      ...own,
      ...inherited,
      conversation_id: own.conversation_id === null ? null : dashedId(own.conversation_id),
      plugins: own.plugins && maskPlugins(own.plugins),
      // Kinds of processors are all that is looked at: what else came with them is kept as it may be shown.
      processors: own.processors && own.processors.map((processor) => hideSecrets(processor, 'masked')),
      secrets: secrets && Object.fromEntries(Object.keys(secrets).map((name) => [name, MASK])),
    },
    secrets: writeStartSecrets({ secrets: secrets ?? {}, plugins: hiddenPlugins(own.plugins) }),
  };
}

/** The plugins where something of them is masked, else null. */
const hiddenPlugins = (plugins: PluginSpec[] | null): PluginSpec[] | null =>
  plugins && !isDeepStrictEqual(maskPlugins(plugins), plugins) ? plugins : null;

type Unsecret = Omit<StartRequest, 'secrets'>;

/** A suggested task becomes the first message, and says which repository it is about. */
function withSuggestedTask(request: Unsecret): Unsecret {
  const task = request.suggested_task;
  if (!task) return request;
  if (request.initial_message) {
    throw new HttpError(
      400,
      'Send either suggested_task or initial_message: the task becomes the first message.',
    );
  }
  const prompt = suggestedTaskPrompt(task);
  if (prompt === null) {
    throw new HttpError(
      400,
      `There is no prompt for ${task.task_type} on ${task.git_provider}: send an initial_message instead.`,
    );
  }
  return {
    ...request,
    initial_message: {
      role: 'user',
      content: [{ type: 'text', text: prompt, cache_prompt: false }],
      run: true,
    },
    trigger: 'suggested_task',
    selected_repository: request.selected_repository ?? task.repo,
    git_provider: request.git_provider ?? task.git_provider,
  };
}

type Inherited = Pick<
  StartRequest,
  'sandbox_id' | 'selected_repository' | 'selected_branch' | 'git_provider' | 'llm_model'
>;

/** What a sub-conversation takes from its parent, each only where the request has nothing. */
async function inheritedFromParent(
  request: Unsecret,
  user: UserContext,
  conversations: Pick<ConversationReadModel, 'read'>,
): Promise<Inherited> {
  const parentId = request.parent_conversation_id;
  const parent = parentId === null ? null : await conversations.read(await visibleUserIds(user), parentId);
  if (parentId !== null && !parent) throw notFound(`Parent conversation not found: ${parentId}`);
  if (parent) requireAuthor(user, parent.conversation.createdByUserId, 'conversation');
  const from = parent?.conversation;
  return {
    sandbox_id: request.sandbox_id ?? from?.sandboxId ?? null,
    selected_repository: request.selected_repository ?? from?.selectedRepository ?? null,
    selected_branch: request.selected_branch ?? from?.selectedBranch ?? null,
    git_provider: request.git_provider ?? from?.gitProvider ?? null,
    llm_model: request.llm_model ?? from?.llmModel ?? null,
  };
}
