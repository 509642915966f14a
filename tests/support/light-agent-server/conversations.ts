/** All conversations of this server, and their routes (agent-server contract 7, 9, 11). */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LightConversation, type ConversationSettings } from './conversation.js';
import { matching, pageOf, withoutNulls } from './event-log.js';
import { ok, refused, success, type Answer, type Call, type LightRoute } from './http.js';
import { hesitate } from './ledger.js';

export interface ConversationsSettings extends ConversationSettings {
  /** Holds a directory for each conversation. */
  directory: string;
  /** Longest wait before and after what a call does, in milliseconds. */
  latencyMs: number;
}

interface StartBody {
  conversation_id?: string;
  agent?: Record<string, unknown>;
  workspace?: { working_dir?: string };
  initial_message?: { content: unknown } | null;
}

const ITEM = '/api/conversations/([0-9a-fA-F-]{32,36})';
const at = (rest: string): RegExp => new RegExp(`^${ITEM}${rest}$`);

export function conversationRoutes(settings: ConversationsSettings): LightRoute[] {
  const { directory, latencyMs, ledger } = settings;
  mkdirSync(directory, { recursive: true });
  const open = new Map(
    readdirSync(directory)
      .filter((name) => existsSync(join(directory, name, 'meta.json')))
      .map((name) => [name, LightConversation.open(join(directory, name), settings)]),
  );
  const find = (id: string): LightConversation | undefined => open.get(keyOf(id));

  /** Each call may be cut off before it has done anything, or after it has done everything. */
  const slow = (work: (call: Call) => Answer | Promise<Answer>) => async (call: Call) => {
    await hesitate(latencyMs);
    const answer = await work(call);
    await hesitate(latencyMs);
    return answer;
  };
  const on =
    (missing: Answer, work: (conversation: LightConversation, call: Call) => Answer | Promise<Answer>) =>
    (call: Call) => {
      const conversation = find(call.path[0] ?? '');
      return conversation ? work(conversation, call) : missing;
    };

  function start({ body }: Call): Answer {
    const { conversation_id, agent, workspace, initial_message } = (body ?? {}) as StartBody;
    if (!agent || !workspace?.working_dir) return refused(422, 'agent and workspace are required');
    const id = conversation_id ?? randomUUID();
    const present = find(id);
    if (present) return ok(present.info());
    mkdirSync(workspace.working_dir, { recursive: true });
    const created = LightConversation.create(
      join(directory, keyOf(id)),
      { id: dashed(id), agent: shown(agent), workingDirectory: workspace.working_dir },
      settings,
    );
    open.set(created.key, created);
    const info = created.info();
    if (initial_message) created.message(initial_message.content, true);
    created.announce();
    return ok(info, 201);
  }

  const unknown = refused(400, 'Bad Request');
  const notFound = refused(404, 'Conversation not found');
  return [
    { method: 'POST', pattern: /^\/api\/conversations$/, handle: slow(start) },
    {
      method: 'GET',
      pattern: /^\/api\/conversations$/,
      handle: ({ query }) => ok(query.getAll('ids').map((id) => find(id)?.info() ?? null)),
    },
    { method: 'GET', pattern: /^\/api\/conversations\/count$/, handle: () => ok(open.size) },
    { method: 'GET', pattern: at(''), handle: on(notFound, (one) => ok(one.info())) },
    {
      method: 'PATCH',
      pattern: at(''),
      handle: on(ok({ success: false }), (one, { body }) => {
        one.patch(body as { title?: string; tags?: Record<string, string> });
        one.announce();
        return success;
      }),
    },
    {
      method: 'DELETE',
      pattern: at(''),
      handle: slow(
        on(unknown, (one) => {
          one.close();
          open.delete(one.key);
          rmSync(join(directory, one.key), { recursive: true, force: true });
          ledger.write({ what: 'deleted', conversation: one.key });
          one.announce('deleting');
          return success;
        }),
      ),
    },
    {
      method: 'POST',
      pattern: at('/events'),
      handle: slow(
        on(notFound, (one, { body }) => {
          const { content, run } = body as { content: unknown; run?: boolean };
          one.message(content, run === true);
          return success;
        }),
      ),
    },
    {
      method: 'POST',
      pattern: at('/run'),
      handle: on(notFound, (one) =>
        one.run()
          ? success
          : refused(409, 'Conversation already running. Wait for completion or pause first.'),
      ),
    },
    {
      method: 'POST',
      pattern: at('/(?:pause|interrupt)'),
      handle: on(unknown, async (one) => {
        await one.pause();
        return success;
      }),
    },
    { method: 'POST', pattern: at('/switch_llm'), handle: on(notFound, () => success) },
    { method: 'POST', pattern: at('/secrets'), handle: on(notFound, () => success) },
    {
      method: 'GET',
      pattern: at('/events/search'),
      handle: on(notFound, (one, { query }) => {
        const page = pageOf(one.log.events, query);
        return page
          ? ok(page)
          : { status: 500, body: { detail: 'Internal Server Error', exception: 'limit' } };
      }),
    },
    {
      method: 'GET',
      pattern: at('/events/count'),
      handle: on(notFound, (one, { query }) => ok(matching(one.log.events, query).length)),
    },
    {
      method: 'GET',
      pattern: at('/events/([^/]+)'),
      handle: on(notFound, (one, { path }) => {
        const event = one.log.events.find(({ id }) => id === path[1]);
        return event ? ok(withoutNulls(event)) : { status: 500, body: { detail: 'Internal Server Error' } };
      }),
    },
  ];
}

const keyOf = (id: string): string => id.replaceAll('-', '').toLowerCase();

const dashed = (id: string): string =>
  keyOf(id).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

/** The agent as records show it: without its key. */
function shown(agent: Record<string, unknown>): Record<string, unknown> {
  const llm = agent['llm'] as Record<string, unknown> | undefined;
  return { kind: agent['kind'] ?? 'Agent', llm: { model: llm?.['model'] ?? null, api_key: null } };
}
