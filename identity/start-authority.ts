/** In whose name a start acts besides its author: kept encrypted with the request, for the start alone. */
import { z } from 'zod';
import type { UserContext } from './user-context.js';
import type { Vault } from './vault.js';

const Authority = z.object({ organizationId: z.string() });

const purpose = (taskId: string): string => `start/${taskId}/authority`;

/** What is stored of the caller's active organization; null without one. */
export async function sealAuthority(
  vault: Pick<Vault, 'seal'>,
  taskId: string,
  user: UserContext,
): Promise<string | null> {
  const organizationId = user.organization?.activeOrganizationId ?? null;
  return organizationId === null ? null : vault.seal(purpose(taskId), JSON.stringify({ organizationId }));
}

/** The organization in whose name a start acts; null for its author alone. */
export async function openAuthority(
  vault: Pick<Vault, 'open'>,
  taskId: string,
  sealed: string | null,
): Promise<string | null> {
  if (sealed === null) return null;
  return Authority.parse(JSON.parse(await vault.open(purpose(taskId), sealed))).organizationId;
}
