import type { Logger } from 'pino';
import { ExecutionStatus } from '../contract/conversation.js';
import { dashedId, hexId } from '../contract/ids.js';
import type { ListedConversation } from '../db/conversation-read-model.js';
import type { AgentServerAccess, AgentServerCalls } from './agent-server-access.js';

/** After how many milliseconds without news a run that was going on is asked about. */
const STALE_AFTER_MS = 30_000;
/** How long an agent-server may take to answer, in milliseconds: what a hung sandbox can cost a list at most. */
const LIMIT_MS = 2_000;
/** How long an answer, or the lack of one, is taken for current, in milliseconds. */
const FRESH_FOR_MS = 1_000;

export interface LiveStatusDeps {
  agentServers: Pick<AgentServerAccess, 'of'>;
  logger: Pick<Logger, 'warn'>;
  /** Replaces the limits in tests, in milliseconds. */
  limitMs?: number;
  freshForMs?: number;
}

/** Tells what the agents of conversations are doing. */
export interface LiveStatus {
  /**
   * By conversation id (hex); null where nobody knows. Answers from what webhooks have left, and asks the
   * agent-servers, all at the same time, only where that may be out of date.
   */
  of(listed: readonly ListedConversation[]): Promise<Map<string, ExecutionStatus | null>>;
}

/** True where the mirrored status of a conversation may not be what its agent is doing now. */
export function mayBeStale({ conversation, sandbox }: ListedConversation, now: number): boolean {
  if (sandbox.status !== 'RUNNING') return false;
  if (conversation.executionStatus === null) return true;
  if (conversation.executionStatus !== 'running') return false;
  return now - (conversation.executionStatusAt?.getTime() ?? 0) > STALE_AFTER_MS;
}

interface Remembered {
  status: Promise<ExecutionStatus | null>;
  /** When the answer stops being current; not before there is one. */
  until: number;
}

export function createLiveStatus({
  agentServers,
  logger,
  limitMs = LIMIT_MS,
  freshForMs = FRESH_FOR_MS,
}: LiveStatusDeps): LiveStatus {
  const remembered = new Map<string, Remembered>();

  const forgetOld = (now: number) => {
    for (const [id, { until }] of remembered) if (until <= now) remembered.delete(id);
  };

  /** Asks one agent-server about its conversations; never rejects, never takes longer than the limit. */
  async function ask(
    sandboxId: string,
    conversations: readonly ListedConversation[],
  ): Promise<Map<string, ExecutionStatus | null>> {
    const [first] = conversations;
    const ids = conversations.map(({ conversation }) => dashedId(conversation.id));
    try {
      const agentServer = first ? await agentServers.of(first) : null;
      if (!agentServer) return new Map();
      const answers = await beforeLimit(agentServer, ids, limitMs);
      return new Map(
        answers.flatMap((answer) => {
          const status = ExecutionStatus.safeParse(answer?.execution_status);
          return answer && status.success ? [[hexId(answer.id), status.data] as const] : [];
        }),
      );
    } catch (error) {
      logger.warn({ err: error, sandboxId }, 'an agent-server does not tell the status of its conversations');
      return new Map();
    }
  }

  return {
    async of(listed) {
      const now = Date.now();
      forgetOld(now);
      const unknown = new Map<string, ListedConversation[]>();
      for (const item of listed) {
        if (!mayBeStale(item, now) || remembered.has(item.conversation.id)) continue;
        unknown.set(item.sandbox.id, [...(unknown.get(item.sandbox.id) ?? []), item]);
      }
      for (const [sandboxId, conversations] of unknown) {
        const answers = ask(sandboxId, conversations);
        for (const { conversation } of conversations) {
          const entry: Remembered = {
            until: Infinity,
            status: answers.then((statuses) => {
              entry.until = Date.now() + freshForMs;
              return statuses.get(conversation.id) ?? null;
            }),
          };
          remembered.set(conversation.id, entry);
        }
      }
      const statuses = await Promise.all(
        listed.map(async (item) => {
          const { id, executionStatus } = item.conversation;
          if (item.sandbox.status !== 'RUNNING') return [id, null] as const;
          if (!mayBeStale(item, now)) return [id, executionStatus] as const;
          return [id, (await remembered.get(id)?.status) ?? null] as const;
        }),
      );
      return new Map(statuses);
    },
  };
}

/** The limit covers the whole call, whatever the client does with its own. */
async function beforeLimit(agentServer: AgentServerCalls, ids: readonly string[], limitMs: number) {
  const limit = AbortSignal.timeout(limitMs);
  const late = new Promise<never>((_, reject) => {
    limit.addEventListener('abort', () => reject(new Error(`no answer within ${limitMs} ms`)), {
      once: true,
    });
  });
  return Promise.race([agentServer.conversations(ids, { signal: limit, timeoutMs: limitMs }), late]);
}
