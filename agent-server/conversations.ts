/** Calls about conversations (agent-server contract 7, 11). */
import { z } from 'zod';
import { conversationPath as pathOf } from './conversation-events.js';
import { ConversationInfo, ConversationPage, Success } from './schemas.js';
import type { Call, CallOptions, Transport } from './transport.js';

/**
 * Limit of calls that wait for a running tool call (message, pause, PATCH, DELETE): just below the five
 * minutes after which clients and proxies commonly give up.
 */
const WAITS_FOR_TOOL_MS = 290_000;
/** Limit of a start: MCP servers are connected and the workspace is prepared within it. */
const START_MS = 120_000;
/** The server refuses a hundred and more. */
const IDS_PER_CALL = 99;

/** Body of a start; see the contract for its many fields. `conversation_id` makes repeating it harmless. */
export interface StartConversationBody {
  conversation_id: string;
  workspace: { working_dir: string };
  [field: string]: unknown;
}

/** A message for the agent. */
export interface OutgoingMessage {
  role: 'user' | 'system' | 'assistant' | 'tool';
  content: readonly Record<string, unknown>[];
  /** Starts the agent if it is not running. */
  run: boolean;
}

export function conversationCalls(transport: Transport) {
  /** Unknown conversations are 400 in old servers, 404 in newer ones. */
  async function known(call: Call): Promise<boolean> {
    const answer = await transport.send({ ...call, accept: [400, 404] });
    if (answer.status === 400 || answer.status === 404) return false;
    return transport.read(call, answer, Success).success;
  }

  return {
    /**
     * Starts a conversation. With an id that is open already nothing is started and its present state is
     * returned with `created: false`; a failed start leaves such a conversation behind.
     */
    async startConversation(
      body: StartConversationBody,
      options: CallOptions = {},
    ): Promise<{ created: boolean; conversation: ConversationInfo }> {
      const call: Call = {
        method: 'POST',
        path: '/api/conversations',
        body,
        // It may be at work on it when its answer gets lost: whoever tells it again asks first.
        idempotent: false,
        timeoutMs: START_MS,
        ...options,
      };
      const answer = await transport.send(call);
      return { created: answer.status === 201, conversation: transport.read(call, answer, ConversationInfo) };
    },

    /**
     * Has the server read an agent as a start request has it, and refuse the request: its id is none. Nothing comes of
     * it but that the first real one finds loaded what it needs.
     */
    async rehearseStart(agent: Record<string, unknown>, options: CallOptions = {}): Promise<void> {
      const body = { conversation_id: 'no id', agent };
      await transport.send({
        method: 'POST',
        path: '/api/conversations',
        body,
        idempotent: true,
        accept: [422],
        ...options,
      });
    },

    /** One conversation, or null if the server does not know it. */
    async conversation(id: string, options: CallOptions = {}): Promise<ConversationInfo | null> {
      const call: Call = { method: 'GET', path: pathOf(id), idempotent: true, accept: [404], ...options };
      const answer = await transport.send(call);
      return answer.status === 404 ? null : transport.read(call, answer, ConversationInfo);
    },

    /** Conversations in the order of `ids`, null for what the server does not know. */
    async conversations(
      ids: readonly string[],
      options: CallOptions = {},
    ): Promise<(ConversationInfo | null)[]> {
      const pages: string[][] = [];
      for (let at = 0; at < ids.length; at += IDS_PER_CALL) pages.push(ids.slice(at, at + IDS_PER_CALL));
      const answers = await Promise.all(
        pages.map((page) =>
          transport.json(
            {
              method: 'GET',
              path: '/api/conversations',
              query: page.map((id) => ['ids', id] as const),
              idempotent: true,
              ...options,
            },
            z.array(ConversationInfo.nullable()),
          ),
        ),
      );
      return answers.flat();
    },

    /** Every conversation that the server has, in order of creation, page by page. */
    async *allConversations(options: CallOptions = {}): AsyncGenerator<ConversationInfo> {
      let pageId: string | undefined;
      do {
        const query: [string, string][] = [
          ['limit', '100'],
          ['sort_order', 'CREATED_AT'],
        ];
        if (pageId !== undefined) query.push(['page_id', pageId]);
        const page = await transport.json(
          { method: 'GET', path: '/api/conversations/search', query, idempotent: true, ...options },
          ConversationPage,
        );
        yield* page.items;
        pageId = page.next_page_id ?? undefined;
      } while (pageId !== undefined);
    },

    /** Sets title (1 to 200 characters) or tags (replaces all). False if the conversation is unknown. */
    patchConversation: (
      id: string,
      change: { title?: string; tags?: Record<string, string> },
      options: CallOptions = {},
    ): Promise<boolean> =>
      known({
        method: 'PATCH',
        path: pathOf(id),
        body: change,
        idempotent: true,
        timeoutMs: WAITS_FOR_TOOL_MS,
        ...options,
      }),

    /** Has a server that makes no titles by itself make one now, with a model call; null if it cannot. */
    async generateTitle(id: string, options: CallOptions = {}): Promise<string | null> {
      const call: Call = {
        method: 'POST',
        path: `${pathOf(id)}/generate_title`,
        body: {},
        idempotent: true,
        accept: [400, 404, 405],
        ...options,
      };
      const answer = await transport.send(call);
      if (answer.status >= 400) return null;
      return transport.read(call, answer, z.looseObject({ title: z.string().nullish() })).title ?? null;
    },

    /** Stops it and removes its directory; the workspace stays. False if it is unknown. */
    deleteConversation: (id: string, options: CallOptions = {}): Promise<boolean> =>
      known({
        method: 'DELETE',
        path: pathOf(id),
        idempotent: true,
        timeoutMs: WAITS_FOR_TOOL_MS,
        ...options,
      }),

    /**
     * Hands over a message; waits for a running tool call. Never repeated by itself: after `unreachable` or
     * `timeout` the log tells whether it arrived.
     */
    async sendMessage(id: string, message: OutgoingMessage, options: CallOptions = {}): Promise<void> {
      await transport.send({
        method: 'POST',
        path: `${pathOf(id)}/events`,
        body: message,
        idempotent: false,
        timeoutMs: WAITS_FOR_TOOL_MS,
        ...options,
      });
    },

    /** Stops it after the current step; waits for a running tool call. False if it is unknown. */
    pause: (id: string, options: CallOptions = {}): Promise<boolean> =>
      known({
        method: 'POST',
        path: `${pathOf(id)}/pause`,
        idempotent: true,
        timeoutMs: WAITS_FOR_TOOL_MS,
        ...options,
      }),

    /** Stops it at once, model and tool calls too. False if it is unknown. */
    interrupt: (id: string, options: CallOptions = {}): Promise<boolean> =>
      known({ method: 'POST', path: `${pathOf(id)}/interrupt`, idempotent: true, ...options }),

    /** Lets it go on; `running` if it did already. Started without anything to do it just stays as it is. */
    async run(id: string, options: CallOptions = {}): Promise<'started' | 'running'> {
      const answer = await transport.send({
        method: 'POST',
        path: `${pathOf(id)}/run`,
        idempotent: true,
        accept: [409],
        ...options,
      });
      return answer.status === 409 ? 'running' : 'started';
    },

    /**
     * Changes the model. `llm.usage_id` must be one that this conversation has not used: with a known one the
     * server answers success and keeps the old model. Forgotten at a restart of the server.
     */
    async switchLlm(
      id: string,
      llm: { usage_id: string; [field: string]: unknown },
      options: CallOptions = {},
    ): Promise<void> {
      await transport.send({
        method: 'POST',
        path: `${pathOf(id)}/switch_llm`,
        body: { llm },
        idempotent: true,
        ...options,
      });
    },

    /** Changes the model of an agent that speaks the Agent Client Protocol. */
    async switchAcpModel(id: string, model: string, options: CallOptions = {}): Promise<void> {
      await transport.send({
        method: 'POST',
        path: `${pathOf(id)}/switch_acp_model`,
        body: { model },
        idempotent: true,
        timeoutMs: WAITS_FOR_TOOL_MS,
        ...options,
      });
    },
  };
}
