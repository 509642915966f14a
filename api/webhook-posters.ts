/** Who posts webhooks, remembered for a moment: an agent at work posts many times a second, always the same one. */
import type { PosterRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { BoundedCache } from '../identity/bounded-cache.js';

export type WebhookPosters = Pick<SandboxRepository, 'findPoster' | 'touch'>;

/**
 * How long is remembered to whom a key belongs, and that its sandbox is active, in milliseconds. Owner and keys of a
 * sandbox never change, and its key counts for minutes after it was deleted; activity is stored every ten seconds at most.
 */
const FRESH_MS = 5_000;
/** Sandboxes remembered at a time. */
const MOST = 1_000;

/** The same answers with fewer questions; a key that is not known is asked for each time it comes. */
export function rememberedPosters(sandboxes: WebhookPosters): WebhookPosters {
  const posters = new BoundedCache<PosterRecord | null>(FRESH_MS, MOST);
  const touched = new BoundedCache<void>(FRESH_MS, MOST);
  return {
    async findPoster(hash) {
      const found = await posters.get(hash, () => sandboxes.findPoster(hash));
      if (found === null) posters.forget(hash);
      return found;
    },
    touch: (sandboxId) => touched.get(sandboxId, () => sandboxes.touch(sandboxId)),
  };
}
