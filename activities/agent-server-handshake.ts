import type { Logger } from 'pino';
import type { AgentServerClient } from '../agent-server/client.js';
import type { SandboxRecord } from '../db/sandbox-repository.js';
import type { AgentServerFacts, KeptFacts } from '../sandboxes/agent-server-facts.js';

export interface HandshakeDeps {
  /** What an earlier worker was told by an agent-server of the same installation. */
  keptFacts: KeptFacts;
  log: Pick<Logger, 'warn'>;
  createClient: (target: { baseUrl: string; sessionApiKey: string }) => Pick<AgentServerClient, 'serverInfo'>;
}

/**
 * Version and tools of an agent-server, asked once per spec and worker: sandboxes of one spec on one host run the same
 * installation, and the question costs a fresh agent-server a second of importing. Where somebody waits, what an earlier
 * worker was told will do; a sandbox that is kept warm is asked.
 */
export function createHandshake({ keptFacts, log, createClient }: HandshakeDeps) {
  const facts = new Map<string, Promise<AgentServerFacts>>();

  const bestEffort = <Value>(work: Promise<Value>): Promise<Value | null> =>
    work.catch((err: unknown) => {
      log.warn({ err }, 'what an agent-server tells of itself could not be kept for later workers');
      return null;
    });

  const ask = async (specId: string, baseUrl: string, sessionApiKey: string): Promise<AgentServerFacts> => {
    const info = await createClient({ baseUrl, sessionApiKey }).serverInfo();
    const told = { version: info.version ?? 'unknown', usableTools: info.usable_tools ?? [] };
    await bestEffort(keptFacts.keep(specId, told));
    return told;
  };

  return (
    { specId, warmSince }: Pick<SandboxRecord, 'specId' | 'warmSince'>,
    baseUrl: string,
    sessionApiKey: string,
  ): Promise<AgentServerFacts> => {
    const asked = facts.get(specId);
    if (asked) return asked;
    const answer = (async () => {
      const kept = warmSince === null ? await bestEffort(keptFacts.read(specId)) : null;
      return kept ?? (await ask(specId, baseUrl, sessionApiKey));
    })();
    facts.set(specId, answer);
    answer.catch(() => facts.delete(specId)); // the next sandbox asks again
    return answer;
  };
}
