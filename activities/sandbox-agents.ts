import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AgentServerClient } from '../agent-server/client.js';
import { AgentServerError } from '../agent-server/errors.js';
import { dashedId } from '../contract/ids.js';
import type { SandboxConversations } from '../db/sandbox-conversations.js';
import type { SandboxRecord } from '../db/sandbox-repository.js';
import { purposes, type Vault } from '../identity/vault.js';

/** How long agents may take to come to a stop before they are frozen as they are, in milliseconds. */
const QUIESCE_MS = 10_000;
const ASK_MS = 250;
/** How long the question what the agents are doing may take, in milliseconds. */
const QUESTION_MS = 3_000;

export type AgentCalls = Pick<AgentServerClient, 'alive' | 'conversations' | 'pause'>;

export interface SandboxAgentsDeps {
  conversations: Pick<SandboxConversations, 'idsIn' | 'isStartUnderWay'>;
  vault: Pick<Vault, 'open'>;
  createClient: (target: { baseUrl: string; sessionApiKey: string }) => AgentCalls;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** Replaces the limit in tests, in milliseconds. */
  quiesceMs?: number;
}

/** The agents of one sandbox, asked at their agent-server and not in the mirror. */
export interface SandboxAgents {
  /**
   * Whether it must not be put to sleep: an agent works, a start is under way, or its agent-server does not tell.
   */
  areBusy(sandbox: SandboxRecord, url: string, signal: AbortSignal): Promise<boolean>;
  /** Asks all running agents to pause and waits until they have, for ten seconds at most. Never fails. */
  quiesce(sandbox: SandboxRecord, url: string, signal: AbortSignal): Promise<void>;
  /** Whether the agent-server answers within the given time, in milliseconds. */
  answers(sandbox: SandboxRecord, url: string, withinMs: number, signal: AbortSignal): Promise<boolean>;
}

export function createSandboxAgents(deps: SandboxAgentsDeps): SandboxAgents {
  const { conversations, vault, createClient, logger, quiesceMs = QUIESCE_MS } = deps;

  const clientOf = async (sandbox: SandboxRecord, baseUrl: string): Promise<AgentCalls> =>
    createClient({
      baseUrl,
      sessionApiKey: await vault.open(purposes.sessionKey(sandbox.id), sandbox.sessionApiKey),
    });

  /** Ids (with dashes) of the conversations whose agents run. */
  const running = async (client: AgentCalls, ids: readonly string[], signal: AbortSignal) => {
    if (ids.length === 0) return [];
    const infos = await client.conversations(ids, { signal, timeoutMs: QUESTION_MS });
    return infos.flatMap((info) => (info?.execution_status === 'running' ? [info.id] : []));
  };

  const idsOf = async (sandboxId: string): Promise<string[]> =>
    (await conversations.idsIn(sandboxId)).map(dashedId);

  return {
    async areBusy(sandbox, url, signal) {
      if (await conversations.isStartUnderWay(sandbox.id)) return true;
      const ids = await idsOf(sandbox.id);
      if (ids.length === 0) return false;
      try {
        return (await running(await clientOf(sandbox, url), ids, signal)).length > 0;
      } catch (error) {
        if (!(error instanceof AgentServerError)) throw error;
        const fields = { sandboxId: sandbox.id, detail: error.message };
        logger.warn(fields, 'a sandbox is left running: its agent-server does not tell what the agents do');
        return true;
      }
    },

    async quiesce(sandbox, url, signal) {
      const ids = await idsOf(sandbox.id);
      if (ids.length === 0) return;
      const limit = AbortSignal.any([signal, AbortSignal.timeout(quiesceMs)]);
      try {
        const client = await clientOf(sandbox, url);
        let left = await running(client, ids, limit);
        // A pause waits for a running tool call; not to hear the answer does not take it back.
        const asked = Promise.allSettled(left.map((id) => client.pause(id, { signal: limit })));
        while (left.length > 0) {
          await sleep(ASK_MS, undefined, { signal: limit });
          left = await running(client, left, limit);
        }
        await asked;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof AgentServerError) && !limit.aborted) throw error;
        const detail = error instanceof Error ? error.message : String(error);
        logger.info({ sandboxId: sandbox.id, detail }, 'agents are frozen in the middle of a step');
      }
    },

    async answers(sandbox, url, withinMs, signal) {
      const client = await clientOf(sandbox, url);
      for (const deadline = Date.now() + withinMs; ; await sleep(ASK_MS, undefined, { signal })) {
        if (await client.alive({ signal })) return true;
        if (Date.now() >= deadline) return false;
      }
    },
  };
}
