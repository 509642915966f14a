import type { SandboxSlots } from '../db/sandbox-slots.js';
import type { WarmSandboxes } from '../db/warm-sandboxes.js';

/** How long a warm sandbox may take to answer, in milliseconds: it has nothing else to do. */
const ANSWER_MS = 1_000;
/** How long a request looks for one in all, in milliseconds. */
const LOOK_MS = 2_500;

/**
 * Offers the warm sandboxes of a spec, the best first, until one is taken.
 * @param take answers null when somebody else was faster
 * @returns what `take` has answered; null when there is none for this user
 */
export type WarmOffer = <Taken>(
  wanted: { specId: string; userId: string | null },
  take: (sandboxId: string) => Promise<Taken | null>,
) => Promise<Taken | null>;

export interface WarmOfferDeps {
  warm: Pick<WarmSandboxes, 'candidates'>;
  slots: Pick<SandboxSlots, 'wouldLetIn'>;
  /** Whether the agent-server at an address answers in time; never rejects. */
  isAnswering: (url: string, timeoutMs: number) => Promise<boolean>;
  /** Has the pool of a spec look how things stand, in a moment. */
  wakePool: (specId: string) => void;
}

/** One that does not answer is passed over: the pool sees to it by itself. */
export const createWarmOffer =
  ({ warm, slots, isAnswering, wakePool }: WarmOfferDeps): WarmOffer =>
  async ({ specId, userId }, take) => {
    const candidates = await warm.candidates(specId);
    // One that is refused afterwards would have been wasted.
    if (candidates.length === 0 || !(await slots.wouldLetIn(userId))) return null;
    wakePool(specId);
    const deadline = Date.now() + LOOK_MS;
    for (const { id, status, agentServerUrl } of candidates) {
      const left = deadline - Date.now();
      if (left <= 0) return null;
      const isFit =
        status !== 'RUNNING' ||
        (agentServerUrl !== null && (await isAnswering(agentServerUrl, Math.min(left, ANSWER_MS))));
      const taken = isFit ? await take(id) : null;
      if (taken !== null) return taken;
    }
    return null;
  };
