import { randomBytes } from 'node:crypto';
import { base62 } from '../contract/ids.js';
import type { NewSandbox, SandboxRepository } from '../db/sandbox-repository.js';
import { lookupHash, purposes, randomKey, type Vault } from './vault.js';

export interface NewSandboxDeps {
  vault: Pick<Vault, 'seal'>;
  sandboxes: Pick<SandboxRepository, 'create' | 'read'>;
}

export interface WantedSandbox {
  /** Random if left out. */
  id?: string;
  userId: string | null;
  specId: string;
  /** It is kept for whoever comes next, and nobody's until then. */
  warm?: boolean;
  /** The machine that is to own it; the first that takes it, if left out. */
  hostId?: string | undefined;
}

/** A sandbox id: 16 random bytes in base 62 (contract 1.2). */
export const randomSandboxId = (): string => base62(randomBytes(16));

/** A new sandbox with keys of its own, which nobody but the vault can read; it is not stored yet. */
export async function newSandbox(
  vault: Pick<Vault, 'seal'>,
  { id = randomSandboxId(), userId, specId, warm = false, hostId }: WantedSandbox,
): Promise<NewSandbox> {
  const sessionKey = randomKey(base62);
  return {
    id,
    createdByUserId: userId,
    specId,
    sessionApiKey: await vault.seal(purposes.sessionKey(id), sessionKey),
    sessionApiKeyHash: lookupHash(sessionKey),
    secretKey: await vault.seal(purposes.secretKey(id), randomKey(base62)),
    ...(warm ? { warmSince: new Date() } : {}),
    ...(hostId === undefined ? {} : { hostId }),
  };
}

/**
 * Stores a new sandbox in STARTING with keys of its own, which nobody but the vault can read. With an id of the
 * caller's choosing it may be repeated: what is there already stays as it is.
 * @throws {SandboxIdTaken} when the id belongs to another user's sandbox, or to a deleted one.
 */
export async function createSandboxRow(
  { vault, sandboxes }: NewSandboxDeps,
  wanted: WantedSandbox,
): Promise<{ sandboxId: string }> {
  const sandbox = await newSandbox(vault, wanted);
  await sandboxes.create(sandbox);
  const row = await sandboxes.read(sandbox.id);
  if (!row || row.deletedAt || row.createdByUserId !== wanted.userId) throw new SandboxIdTaken(sandbox.id);
  return { sandboxId: sandbox.id };
}

/** A sandbox id that cannot be used any more: choose another one. */
export class SandboxIdTaken extends Error {
  constructor(sandboxId: string) {
    super(`the sandbox id ${sandboxId} is taken`);
    this.name = 'SandboxIdTaken';
  }
}
