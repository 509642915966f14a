/** Lists of conversations for older clients (contract 16.2): one statement per page, filters before paging. */
import { z } from 'zod';
import { LegacyConversation, legacyConversation } from '../../contract/legacy-conversation.js';
import { ConversationTrigger, QueryBoolean } from '../../contract/primitives.js';
import type { ConversationFilter, ConversationReadModel } from '../../db/conversation-read-model.js';
import { visibleUserIds, type UserContext } from '../../identity/user-context.js';
import type { ConversationViews } from '../conversation-view.js';
import { route, type RouteDefinition } from '../route.js';
import type { OpenPullRequests } from './open-pull-requests.js';

export interface LegacyListDeps {
  conversations: Pick<ConversationReadModel, 'search'>;
  views: Pick<ConversationViews, 'list'>;
  openPullRequests: OpenPullRequests;
}

const Paging = z.object({
  page_id: z.string().optional(),
  limit: z.coerce.number<string>().int().gt(0).lte(100).default(20),
});

const List = Paging.extend({
  selected_repository: z.string().optional(),
  conversation_trigger: ConversationTrigger.optional(),
  include_sub_conversations: QueryBoolean.default(false),
});

const ResultPage = z.object({
  results: z.array(LegacyConversation),
  next_page_id: z.string().nullable(),
});

export function legacyListRoutes({
  conversations,
  views,
  openPullRequests,
}: LegacyListDeps): RouteDefinition[] {
  const page = async (
    user: UserContext,
    filter: ConversationFilter,
    { limit, page_id }: z.output<typeof Paging>,
    kept: OpenPullRequests = (_, listed) => Promise.resolve([...listed]),
  ): Promise<z.infer<typeof ResultPage>> => {
    const { records, nextPageId } = await conversations.search(await visibleUserIds(user), filter, {
      limit,
      pageId: page_id,
    });
    const shown = await views.list(user, await kept(user, records));
    return { results: shown.map(legacyConversation), next_page_id: nextPageId };
  };
  const declared = {
    method: 'get',
    tag: 'Legacy',
    guard: 'user',
    responses: { 200: { description: 'A page of conversations.', schema: ResultPage } },
  } as const;
  return [
    route({
      ...declared,
      path: '/api/conversations',
      summary: 'List conversations, newest first, in the form of older clients',
      query: List,
      handle: ({ query, user }) =>
        page(
          user,
          {
            repository: query.selected_repository,
            trigger: query.conversation_trigger,
            includeSubConversations: query.include_sub_conversations,
          },
          query,
        ),
    }),
    route({
      ...declared,
      path: '/api/microagent-management/conversations',
      summary: 'List the conversations of a repository that write microagents',
      query: Paging.extend({ selected_repository: z.string() }),
      // Git providers are asked about one page at a time, so a page may come out shorter than its limit.
      handle: ({ query, user }) =>
        page(
          user,
          { repository: query.selected_repository, trigger: 'microagent_management' },
          query,
          openPullRequests,
        ),
    }),
  ];
}
