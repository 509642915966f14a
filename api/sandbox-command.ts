import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxRequests } from '../db/sandbox-requests.js';
import type { WarmSandboxes } from '../db/warm-sandboxes.js';
import { createSandboxRow, newSandbox } from '../identity/new-sandbox.js';
import type { Vault } from '../identity/vault.js';
import type { Actors } from './actors.js';
import { HttpError } from './http-error.js';
import { RETRY_AFTER_SECONDS } from './outages.js';
import type { SandboxLimit } from './sandbox-limit.js';
import type { WarmOffer } from './warm-offer.js';

export interface SandboxCommandDeps {
  vault: Pick<Vault, 'seal'>;
  sandboxes: Pick<SandboxRepository, 'create' | 'read'>;
  requests: Pick<SandboxRequests, 'stage' | 'stageWarm' | 'accept' | 'withdraw'>;
  warm: Pick<WarmSandboxes, 'claim' | 'giveUp'>;
  /** Offers what is kept warm. */
  warmOffer: WarmOffer;
  actors: Pick<Actors, 'startSandbox'>;
  limit: SandboxLimit;
}

export interface SandboxStart {
  /** The spec that was asked for; null for the default. */
  wanted: string | null;
  /** The spec it is made from. */
  specId: string;
  /** Value of the `Idempotency-Key` header, or null: the same key leads to the same sandbox. */
  idempotencyKey: string | null;
  userId: string | null;
}

/**
 * Starts a sandbox, or gives one that is kept warm, or finds the one that an earlier request with the same key has started; answers with its row.
 * @throws {HttpError} 409 when that one was deleted, 422 when the key belongs to another request, 429 when there is no
 * room, 503 when nothing was started
 */
export type SandboxCommand = (start: SandboxStart) => Promise<SandboxRecord>;

export function createSandboxCommand(deps: SandboxCommandDeps): SandboxCommand {
  const { vault, sandboxes, requests, warm, warmOffer, actors, limit } = deps;

  /** Repeated, or done by two at the same time, it has one actor begin. */
  async function begin(sandboxId: string, userId: string | null): Promise<void> {
    await limit.makeRoomFor(sandboxId, userId);
    await actors.startSandbox(sandboxId, userId);
  }

  async function startOne({ specId, userId }: SandboxStart): Promise<string> {
    const claimed = await warmOffer({ specId, userId }, async (id) =>
      (await warm.claim(id, userId)) ? id : null,
    );
    const sandboxId = claimed ?? (await createSandboxRow({ vault, sandboxes }, { userId, specId })).sandboxId;
    try {
      await begin(sandboxId, userId);
    } catch (error) {
      // Its actor, should it come to life after all, finds it deleted.
      await warm.giveUp(sandboxId);
      throw error;
    }
    return sandboxId;
  }

  async function startOnce(idempotencyKey: string, start: SandboxStart): Promise<string> {
    const { wanted: wantedSpecId, specId, userId } = start;
    const request = { userId, idempotencyKey, wantedSpecId };
    const staged =
      (await warmOffer({ specId, userId }, (id) => requests.stageWarm(request, id))) ??
      (await requests.stage(request, await newSandbox(vault, { userId, specId })));
    const { outcome, sandboxId } = staged;
    if (outcome === 'accepted') return sandboxId;
    if (outcome === 'deleted') throw keyOfDeleted(sandboxId);
    if (outcome === 'other-request') throw keyUsedOtherwise(sandboxId);
    try {
      // Also for a sandbox that another request has stored: that one may have died before it came to this.
      await begin(sandboxId, userId);
    } catch (error) {
      if (await requests.withdraw(sandboxId)) throw error;
      return sandboxId; // an equal request has started it meanwhile
    }
    if (!(await requests.accept(sandboxId))) throw withdrawnMeanwhile();
    return sandboxId;
  }

  return async (start) => {
    const { idempotencyKey } = start;
    const sandboxId =
      idempotencyKey === null ? await startOne(start) : await startOnce(idempotencyKey, start);
    const row = await sandboxes.read(sandboxId);
    if (!row) throw new Error(`sandbox ${sandboxId} was started but is not stored`);
    return row;
  };
}

const keyOfDeleted = (sandboxId: string): HttpError =>
  new HttpError(
    409,
    `Sandbox ${sandboxId}, which was started with this Idempotency-Key, was deleted: send a new key to start another one.`,
  );

const keyUsedOtherwise = (sandboxId: string): HttpError =>
  new HttpError(
    422,
    `This Idempotency-Key belongs to another request, the one that started sandbox ${sandboxId}: send a new key, or that request again.`,
  );

const withdrawnMeanwhile = (): HttpError =>
  new HttpError(503, 'The sandbox could not be started: try again in a few seconds.', undefined, {
    'Retry-After': String(RETRY_AFTER_SECONDS),
  });
