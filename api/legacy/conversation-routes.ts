/** One conversation as older clients read, rename and delete it (contract 16.3, 16.5). */
import { z } from 'zod';
import {
  LegacyConversation,
  legacyConversation,
  startingConversation,
} from '../../contract/legacy-conversation.js';
import type { ConversationCommands } from '../conversation-commands.js';
import type { ConversationViews } from '../conversation-view.js';
import { HttpError } from '../http-error.js';
import { route, type RouteDefinition } from '../route.js';
import {
  findConversation,
  findStart,
  legacyId,
  LEGACY_CONVERSATION,
  LegacyPath,
  requireConversation,
  shapeF,
  type LookupDeps,
} from './conversation-lookup.js';

export interface LegacyConversationDeps extends LookupDeps {
  views: Pick<ConversationViews, 'one'>;
  commands: ConversationCommands;
}

/** Longest title that older clients may give. */
const LONGEST_TITLE = 200;

const Title = z.strictObject({ title: z.string().min(1).max(LONGEST_TITLE) });

const common = { tag: 'Legacy', guard: 'user', params: LegacyPath } as const;

export function legacyConversationRoutes(deps: LegacyConversationDeps): RouteDefinition[] {
  const { views, commands } = deps;
  return [
    route({
      ...common,
      method: 'get',
      path: LEGACY_CONVERSATION,
      summary: 'Get a conversation, or one that is being started; null when there is none',
      responses: {
        200: { description: 'The conversation, or null.', schema: LegacyConversation.nullable() },
        400: { description: 'The id cannot be one.' },
      },
      async handle({ params: { conversation_id: given }, user }) {
        const found = await findConversation(deps, user, given);
        if (found) return legacyConversation(await views.one(user, found));
        const id = legacyId(given);
        const task = id === null ? null : await findStart(deps, user, id);
        return id !== null && task ? startingConversation(id, task) : null;
      },
    }),
    route({
      ...common,
      method: 'patch',
      path: LEGACY_CONVERSATION,
      summary: 'Rename a conversation',
      body: Title,
      responses: {
        200: { description: 'Renamed.', schema: z.literal(true) },
        400: { description: 'The id cannot be one.' },
        403: { description: 'It belongs to another member of the organization.' },
        404: { description: 'There is no such conversation.' },
      },
      async handle({ params: { conversation_id: given }, body, user }) {
        const title = body.title.trim();
        if (title === '') throw new HttpError(400, 'The title must have a letter or more.');
        const id = legacyId(given);
        const changed = id === null ? null : await commands.patch(user, id, { title }).catch(inShapeF(given));
        if (!changed) throw shapeF(404, given, 'Conversation not found', 'CONVERSATION$NOT_FOUND');
        return true;
      },
    }),
    route({
      ...common,
      method: 'delete',
      path: LEGACY_CONVERSATION,
      summary: 'Delete a conversation with its sub-conversations; false when there is none',
      responses: {
        200: { description: 'Whether there was one to delete.', schema: z.boolean() },
        400: { description: 'The id cannot be one.' },
        403: { description: 'It belongs to another member of the organization.' },
      },
      async handle({ params: { conversation_id: given }, user }) {
        const id = legacyId(given);
        return id === null ? false : commands.delete(user, id).catch(inShapeF(given));
      },
    }),
    route({
      ...common,
      method: 'get',
      path: `${LEGACY_CONVERSATION}/config`,
      summary: 'Tell which sandbox a conversation is in',
      responses: {
        200: {
          description: 'The id of the sandbox, and that of the conversation as it was given.',
          schema: z.object({ runtime_id: z.string(), session_id: z.string() }),
        },
        400: { description: 'The id cannot be one.' },
        404: { description: 'There is no such conversation.' },
      },
      async handle({ params: { conversation_id: given }, user }) {
        const { conversation } = await requireConversation(deps, user, given);
        return { runtime_id: conversation.sandboxId, session_id: given };
      },
    }),
  ];
}

/** Says in the older words that a conversation belongs to somebody else. */
const inShapeF =
  (given: string) =>
  (error: unknown): never => {
    if (!(error instanceof HttpError) || error.status !== 403) throw error;
    throw shapeF(403, given, error.detail, 'AUTHORIZATION$PERMISSION_DENIED');
  };
