import type { SandboxState } from '../messages.js';

/**
 * A number for the next status to be written, in milliseconds since 1970: greater than all before it, those of an
 * earlier actor of the same sandbox included. A worker that was frozen, or cut off, may write a status long after
 * another worker has taken its task over and written later ones; by this number the database refuses it.
 */
export function nextRevision(state: SandboxState): number {
  state.revision = Math.max(Date.now(), (state.revision ?? 0) + 1);
  return state.revision;
}
