import { patched } from '@temporalio/workflow';
import type { SandboxState } from './messages.js';
import { life } from './sandbox/life.js';
import { lifeOf010 } from './sandbox/life-0-1-0.js';

/** A sandbox's whole life, from its birth to its deletion. */
export function sandbox(initial: SandboxState): Promise<void> {
  return patched('2026-11-sandbox-table') ? life(initial) : lifeOf010(initial);
}
