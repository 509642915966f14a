/**
 * Starting, resuming and pausing as older clients do it (contract 16.4). There are no conversations of the older kind
 * here: what is asked for in its words becomes a conversation of the newer one.
 */
import { z } from 'zod';
import type { ContentBlock } from '../../contract/content.js';
import { legacyStatus, LegacyConversationStatus } from '../../contract/legacy-conversation.js';
import { GitProvider, type ConversationTrigger } from '../../contract/primitives.js';
import { StartRequest, SuggestedTask } from '../../contract/start-task.js';
import type { StartTaskReadModel } from '../../db/start-task-read-model.js';
import { ownUserIds, type UserContext } from '../../identity/user-context.js';
import { readIdempotencyKey } from '../idempotency-key.js';
import { route, type RouteDefinition } from '../route.js';
import type { SandboxOrders } from '../sandbox-orders.js';
import type { StartCommand } from '../start-command.js';
import {
  findConversation,
  findStart,
  legacyId,
  LEGACY_CONVERSATION,
  LegacyPath,
  shapeF,
  type LookupDeps,
} from './conversation-lookup.js';

export interface LegacyStartDeps extends LookupDeps {
  tasks: Pick<StartTaskReadModel, 'ofConversation' | 'standing'>;
  start: StartCommand;
  orders: Pick<SandboxOrders, 'pause' | 'resume'>;
}

/** Unknown members are refused, as they always were. */
const NewConversation = z.strictObject({
  repository: z.string().nullish(),
  git_provider: GitProvider.nullish(),
  selected_branch: z.string().nullish(),
  initial_user_msg: z.string().nullish(),
  image_urls: z.array(z.string()).nullish(),
  replay_json: z.string().nullish(),
  suggested_task: SuggestedTask.nullish(),
  create_microagent: z
    .object({
      repo: z.string(),
      git_provider: GitProvider.nullish(),
      title: z.string().nullish(),
    })
    .nullish(),
  conversation_instructions: z.string().nullish(),
  mcp_config: z.looseObject({}).nullish(),
});
type NewConversation = z.output<typeof NewConversation>;

const Answer = z.object({
  status: z.literal('ok'),
  conversation_id: z.string(),
  message: z.string(),
  conversation_status: LegacyConversationStatus,
});
type Answer = z.infer<typeof Answer>;

const done = (
  conversation_id: string,
  message: string,
  conversation_status: LegacyConversationStatus,
): Answer => ({ status: 'ok', conversation_id, message, conversation_status });

const ORDER_RESPONSES = {
  200: { description: 'The state of the conversation from now on.', schema: Answer },
  400: { description: 'The id cannot be one.' },
  403: { description: 'It belongs to another member of the organization.' },
  404: { description: 'There is no such conversation.' },
  409: { description: 'The sandbox is in no state in which it can be done.' },
  410: { description: 'The sandbox no longer exists.' },
  503: { description: 'The workflow service does not answer.' },
};

export function legacyStartRoutes(deps: LegacyStartDeps): RouteDefinition[] {
  return [createRoute(deps), ...orderRoutes(deps)];
}

function createRoute({ start, tasks }: LegacyStartDeps): RouteDefinition {
  return route({
    method: 'post',
    path: '/api/conversations',
    summary: 'Start a conversation in the words of older clients; it is one of the V1 kind',
    tag: 'Legacy',
    guard: 'user',
    limit: 'start',
    body: NewConversation,
    responses: {
      200: { description: 'It is being started.', schema: Answer },
      400: { description: 'Something is asked for that V1 conversations cannot do.' },
      503: { description: 'The workflow service does not answer; nothing was started.' },
    },
    async handle({ body, user, request }) {
      refuseWhatV1HasNot(body);
      const given = v1Request(body, user);
      const { id } = await start({ given, idempotencyKey: readIdempotencyKey(request), user });
      const task = await tasks.standing(ownUserIds(user), { taskId: id });
      if (!task) throw new Error(`start task ${id} was accepted but is not stored`);
      return done(
        task.conversationId,
        'The conversation is being started as a V1 conversation: ask for it until its status is RUNNING.',
        'STARTING',
      );
    },
  });
}

/** @throws {HttpError} 400 for what only conversations of the older kind could do */
function refuseWhatV1HasNot({ replay_json, mcp_config }: NewConversation): void {
  if (replay_json != null) {
    throw shapeF(
      400,
      null,
      'Replaying a trajectory is not possible: this server runs V1 conversations only. Leave replay_json out.',
      'CONFIGURATION$REPLAY_NOT_SUPPORTED',
    );
  }
  if (mcp_config != null) {
    throw shapeF(
      400,
      null,
      'MCP servers of one conversation are not possible: store mcp_config in the settings, and leave it out here.',
      'CONFIGURATION$MCP_NOT_SUPPORTED',
    );
  }
}

function v1Request(body: NewConversation, user: UserContext): StartRequest {
  const microagent = body.create_microagent;
  return StartRequest.parse({
    // The task is the first message; the reference drops what else was said.
    initial_message: body.suggested_task ? null : firstMessage(body),
    suggested_task: body.suggested_task ?? null,
    system_message_suffix: body.conversation_instructions ?? null,
    selected_repository: body.repository ?? microagent?.repo ?? null,
    selected_branch: body.selected_branch ?? null,
    git_provider: body.git_provider ?? microagent?.git_provider ?? null,
    trigger: triggerOf(body, user),
  });
}

function triggerOf({ create_microagent }: NewConversation, user: UserContext): ConversationTrigger {
  if (create_microagent) return 'microagent_management';
  return user.authType === 'bearer' ? 'openhands_api' : 'gui';
}

function firstMessage({ initial_user_msg, image_urls }: NewConversation) {
  const content: ContentBlock[] = [];
  if (initial_user_msg) content.push({ type: 'text', text: initial_user_msg, cache_prompt: false });
  if (image_urls && image_urls.length > 0) content.push({ type: 'image', image_urls, cache_prompt: false });
  return content.length === 0 ? null : { role: 'user', content, run: true };
}

function orderRoutes(deps: LegacyStartDeps): RouteDefinition[] {
  const { orders } = deps;
  /** The conversation, or null for one whose start is under way. */
  const meant = async (user: UserContext, given: string) => {
    const found = await findConversation(deps, user, given);
    if (found?.sandbox.deleted || found?.sandbox.known === false) {
      throw shapeF(410, given, 'Conversation is archived. The sandbox no longer exists.');
    }
    if (found) return found;
    const id = legacyId(given);
    const task = id === null ? null : await findStart(deps, user, id);
    if (!task) throw shapeF(404, given, `Conversation ${given} not found`);
    if (task.status === 'ERROR') {
      const why = task.detail ?? 'without a reason';
      throw shapeF(409, given, `The start of this conversation has failed (${why}): start another one.`);
    }
    return null;
  };
  return [
    route({
      method: 'post',
      path: `${LEGACY_CONVERSATION}/start`,
      summary: 'Resume the sandbox of a conversation; running already is fine',
      tag: 'Legacy',
      guard: 'user',
      limit: 'free', // as opening a conversation by the V1 routes
      params: LegacyPath,
      responses: {
        ...ORDER_RESPONSES,
        429: { description: 'As many sandboxes of the user run as are allowed.' },
      },
      async handle({ params: { conversation_id: given }, user }) {
        const found = await meant(user, given);
        if (!found) return done(given, 'Conversation is being started', 'STARTING');
        const { status } = await orders.resume(user, found.sandbox.id);
        return status === 'RUNNING'
          ? done(given, 'Conversation is running', 'RUNNING')
          : done(given, 'Conversation started', 'STARTING');
      },
    }),
    route({
      method: 'post',
      path: `${LEGACY_CONVERSATION}/stop`,
      summary: 'Pause the sandbox of a conversation; paused already is fine',
      tag: 'Legacy',
      guard: 'user',
      params: LegacyPath,
      responses: ORDER_RESPONSES,
      async handle({ params: { conversation_id: given }, user }) {
        const found = await meant(user, given);
        if (!found) return done(given, 'Conversation was not running', 'STARTING');
        const { status } = found.sandbox;
        const stopped = await orders.pause(user, found.sandbox.id);
        return stopped.status === 'RUNNING'
          ? done(given, 'Conversation stopped', 'STOPPED')
          : done(given, 'Conversation was not running', legacyStatus(status));
      },
    }),
  ];
}
