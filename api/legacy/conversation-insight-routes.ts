/** Events, files and skills of a conversation in the forms of older clients (contract 16.7). */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { AgentEvent } from '../../contract/event.js';
import { QueryBoolean } from '../../contract/primitives.js';
import type { EventStore } from '../../events/event-store.js';
import { visibleUserIds, type UserContext } from '../../identity/user-context.js';
import { shownSkills, type AgentContextDeps } from '../agent-context-routes.js';
import { HttpError } from '../http-error.js';
import { route, type RouteDefinition } from '../route.js';
import { isClosedByClient, STALLED_MS } from '../trajectory-routes.js';
import { GitChanges, GitDiff, GitQuery, gitResponses, gitState } from '../workspace-routes.js';
import { LEGACY_CONVERSATION, LegacyPath, requireConversation } from './conversation-lookup.js';

export interface LegacyInsightDeps extends AgentContextDeps {
  events: Pick<EventStore, 'search' | 'count' | 'stream'>;
  /** Most events of a trajectory; 0 sets no limit. */
  maxEvents: number;
}

const common = { method: 'get', tag: 'Legacy', guard: 'user', params: LegacyPath } as const;
const REFUSED = {
  400: { description: 'The id cannot be one, or a parameter is out of bounds.' },
  404: { description: 'There is no such conversation.' },
};
const MOST_EVENTS = 100;

export function legacyInsightRoutes(deps: LegacyInsightDeps): RouteDefinition[] {
  return [...eventRoutes(deps), ...gitRoutes(deps), microagentRoute(deps)];
}

/** The hex id of a conversation that the caller may see. */
const idOf = async (deps: LegacyInsightDeps, user: UserContext, given: string): Promise<string> =>
  (await requireConversation(deps, user, given)).conversation.id;

const Place = z.coerce.number<string>().int().gte(0).lte(Number.MAX_SAFE_INTEGER);
const EventPage = z.object({ events: z.array(AgentEvent), has_more: z.boolean() });

function eventRoutes(deps: LegacyInsightDeps): RouteDefinition[] {
  const { events } = deps;
  return [
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/events`,
      summary: 'List events by their places in the log, the first being 0',
      query: z.object({
        start_id: Place.default(0),
        end_id: Place.optional(),
        reverse: QueryBoolean.default(false),
        limit: z.coerce.number<string>().int().default(20),
      }),
      responses: {
        200: { description: 'The events, as the agent sent them.', schema: EventPage },
        ...REFUSED,
      },
      async handle({ params, query: { start_id: first, end_id, reverse, limit }, user }) {
        if (limit < 1 || limit > MOST_EVENTS) throw new HttpError(400, 'Invalid limit');
        const conversationId = await idOf(deps, user, params.conversation_id);
        const query = { users: await visibleUserIds(user), conversationId };
        const total = await events.count(query);
        const last = Math.min(end_id ?? total - 1, total - 1);
        const wanted = Math.max(0, last - first + 1);
        const page = await events.search(query, {
          sortOrder: reverse ? 'TIMESTAMP_DESC' : 'TIMESTAMP',
          offset: reverse ? total - 1 - last : first,
          limit: Math.min(limit, Math.max(1, wanted)),
        });
        const texts = wanted === 0 ? [] : page.items;
        return { events: texts.map((text) => JSON.parse(text) as unknown), has_more: wanted > limit };
      },
    }),
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/trajectory`,
      summary: 'Download all events of a conversation as one document',
      responses: {
        200: { description: 'The events.', schema: z.object({ trajectory: z.array(AgentEvent) }) },
        ...REFUSED,
        413: { description: 'It has more events than a trajectory may have.' },
      },
      async handle({ params, user, response }) {
        const conversationId = await idOf(deps, user, params.conversation_id);
        const query = { users: await visibleUserIds(user), conversationId };
        const total = await events.count(query);
        if (deps.maxEvents > 0 && total > deps.maxEvents) {
          throw new HttpError(
            413,
            `The trajectory has ${total} events, more than the limit of ${deps.maxEvents}.`,
          );
        }
        response.status(200).setHeader('Content-Type', 'application/json');
        response.setTimeout(STALLED_MS, () => response.destroy());
        await pipeline(Readable.from(trajectoryOf(events.stream(query))), response).catch(
          (error: unknown) => {
            // A client that goes away is no failure of the server.
            if (!isClosedByClient(error)) throw error;
          },
        );
        return undefined;
      },
    }),
  ];
}

/** The document piece by piece: no more than a few events are held at a time. */
async function* trajectoryOf(events: ReturnType<EventStore['stream']>): AsyncGenerator<string> {
  yield '{"trajectory":[';
  let separator = '';
  for await (const few of events) {
    if (few.length === 0) continue;
    yield separator + few.map(({ json }) => json).join(',');
    separator = ',';
  }
  yield ']}';
}

/** What older clients call the ways in which a file has changed: as git does. */
const LETTERS: Readonly<Record<string, string>> = { ADDED: 'A', DELETED: 'D', UPDATED: 'M', MOVED: 'R' };

function gitRoutes(deps: LegacyInsightDeps): RouteDefinition[] {
  return [
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/git/changes`,
      summary: 'List the files that differ from what is committed',
      query: GitQuery.extend({ path: GitQuery.shape.path.default('.') }),
      responses: gitResponses('Changed files.', GitChanges),
      handle: async ({ params, query, user }) => {
        const id = await idOf(deps, user, params.conversation_id);
        const said = await gitState(deps, 'gitChanges', user, id, query);
        const { data: changes } = GitChanges.safeParse(said);
        return (
          changes?.map((change) => ({ ...change, status: LETTERS[change.status] ?? change.status })) ?? said
        );
      },
    }),
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/git/diff`,
      summary: 'Show one file before and after',
      query: GitQuery,
      responses: gitResponses('The file as it was and as it is.', GitDiff),
      handle: async ({ params, query, user }) =>
        gitState(deps, 'gitDiff', user, await idOf(deps, user, params.conversation_id), query),
    }),
  ];
}

const Microagents = z.object({
  microagents: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      content: z.string(),
      triggers: z.array(z.string()),
      inputs: z.array(z.unknown()),
      tools: z.array(z.string()),
    }),
  ),
});

const microagentRoute = (deps: LegacyInsightDeps): RouteDefinition =>
  route({
    ...common,
    path: `${LEGACY_CONVERSATION}/microagents`,
    summary: 'List the skills of a conversation under their older name',
    responses: { 200: { description: 'The skills.', schema: Microagents }, ...REFUSED },
    async handle({ params, user }) {
      const skills = await shownSkills(deps, user, await idOf(deps, user, params.conversation_id));
      return { microagents: skills.map((skill) => ({ ...skill, inputs: [], tools: [] })) };
    },
  });
