/** Who may reach which agent-server through the gateway (contract 1.7, 15). */
import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Secret } from '../../contract/masking.js';
import type { ConversationReadModel } from '../../db/conversation-read-model.js';
import type { SandboxRecord, SandboxRepository } from '../../db/sandbox-repository.js';
import { apiKeyOf } from '../../identity/api-key-credentials.js';
import { isUnauthenticated, type AuthStrategy } from '../../identity/auth-strategy.js';
import { isAuthor, visibleUserIds, type UserContext } from '../../identity/user-context.js';
import { lookupHash, purposes, type Vault } from '../../identity/vault.js';
import { othersThing } from '../authorship.js';
import { HttpError, notFound } from '../http-error.js';
import { provenance, type CrossSiteOptions } from '../middleware/cross-site.js';
import { showsInstanceKey } from '../middleware/instance-key.js';
import { showsKey, type WrongKeys } from '../wrong-keys.js';
import type { ShownKey } from './credentials.js';
import type { SocketTarget } from './socket-request.js';

/** An agent-server that a caller may reach, and the key it wants. */
export interface Reachable {
  sandboxId: string;
  /** Owner of the sandbox; null in auth mode `none`. */
  owner: string | null;
  /** Base URL, always the one in the sandbox's own row: nothing in a request ever chooses a host. */
  baseUrl: string;
  sessionApiKey: string;
}

/** What a caller may do there: whoever sees the conversation of somebody else listens, and gives no orders. */
export interface Admission extends Reachable {
  readOnly: boolean;
  /** Let in as a user, whose session or membership may end; the key of a sandbox is good as long as the sandbox is there. */
  isUser: boolean;
}

export interface GatewayAccessDeps {
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash' | 'read'>;
  conversations: Pick<ConversationReadModel, 'read'>;
  vault: Pick<Vault, 'open'>;
  auth: AuthStrategy;
  server: CrossSiteOptions & { instanceKey: Secret | null };
  /** Absent: wrong keys are not counted. */
  wrongKeys?: WrongKeys;
  logger: Pick<Logger, 'error'>;
}

/** Decides about one caller; whatever is refused is refused with an {@link HttpError}. */
export interface GatewayAccess {
  /**
   * By a key that was shown: of the sandbox itself, or of a user or the instance, who then has to see the target.
   * @throws {HttpError} 403 ({@link WrongKey}) wrong key or another sandbox's, 404 nothing there, 409 PAUSED, ERROR or MISSING, 410 deleted, 503 STARTING
   */
  byKey(request: IncomingMessage, shown: ShownKey, target: SocketTarget): Promise<Admission>;
  /**
   * By the session key of a sandbox alone, as a first frame carries it.
   * @throws {HttpError} as {@link byKey}
   */
  bySessionKey(key: string, target: SocketTarget): Promise<Admission>;
  /**
   * By what proves a user, but is no key of a socket: a session cookie, an API key.
   * @returns null when the headers prove nobody in particular
   * @throws {HttpError} 403 a wrong API key, or a web page of somebody else; else as {@link byKey}
   */
  byUser(request: IncomingMessage, target: SocketTarget): Promise<Admission | null>;
  /** The sandbox that a session key belongs to, whatever its state; null for a key of none. */
  sandboxOfKey(key: string): Promise<SandboxRecord | null>;
  /** @throws {HttpError} 409/410/503 when the sandbox cannot be reached now */
  reach(sandbox: SandboxRecord): Promise<Reachable>;
}

/** What was shown is no key, or not that of this place. */
export class WrongKey extends HttpError {
  constructor() {
    super(403, 'This key does not open this socket: send the session_api_key of its conversation.');
  }
}

export function createGatewayAccess(deps: GatewayAccessDeps): GatewayAccess {
  const sandboxOfKey: GatewayAccess['sandboxOfKey'] = (key) =>
    deps.sandboxes.findBySessionKeyHash(lookupHash(key));

  async function reach(sandbox: SandboxRecord): Promise<Reachable> {
    const { id, agentServerUrl, createdByUserId: owner } = sandbox;
    requireRunning(sandbox);
    if (agentServerUrl === null) throw notReady('has no address yet');
    try {
      const sessionApiKey = await deps.vault.open(purposes.sessionKey(id), sandbox.sessionApiKey);
      return { sandboxId: id, owner, baseUrl: agentServerUrl, sessionApiKey };
    } catch (error) {
      deps.logger.error({ err: error, sandboxId: id }, 'a session key cannot be decrypted');
      throw new HttpError(500, 'The key of this sandbox cannot be read: see the log of the server.');
    }
  }

  /** A key is good for the conversations of its own sandbox. */
  async function ofSandbox(sandbox: SandboxRecord, target: SocketTarget): Promise<Admission> {
    if (target.sandboxId !== null && target.sandboxId !== sandbox.id) throw new WrongKey();
    if (target.conversationId !== null) {
      const found = await deps.conversations.read(null, target.conversationId);
      if (found && found.conversation.sandboxId !== sandbox.id) throw new WrongKey();
      // Below the sandbox's own path its agent-server says what it knows: of a conversation made there we may not have heard.
      if (!found && target.sandboxId === null) throw notFound('Conversation not found');
    }
    return { ...(await reach(sandbox)), readOnly: false, isUser: false };
  }

  /** A user listens to what the user's lists show; everything that gives orders is for the author. */
  async function ofUser(user: UserContext, target: SocketTarget): Promise<Admission> {
    const { conversationId } = target;
    if (conversationId === null) return ofOwnSandbox(user, target);
    const found = await deps.conversations.read(await visibleUserIds(user), conversationId);
    const { sandboxId, createdByUserId } = found?.conversation ?? {};
    if (sandboxId === undefined || (target.sandboxId !== null && target.sandboxId !== sandboxId)) {
      throw notFound('Conversation not found');
    }
    const readOnly = !isAuthor(user, createdByUserId ?? null);
    if (readOnly && target.kind !== 'events') throw othersThing('conversation');
    const sandbox = await deps.sandboxes.read(sandboxId);
    if (!sandbox) throw gone();
    return { ...(await reach(sandbox)), readOnly, isUser: true };
  }

  async function ofOwnSandbox(user: UserContext, { sandboxId }: SocketTarget): Promise<Admission> {
    if (sandboxId === null) {
      throw new HttpError(
        403,
        'Say which sandbox is meant: by its session key, or by a conversation in the path.',
      );
    }
    const sandbox = await deps.sandboxes.read(sandboxId);
    const isThere = sandbox && !sandbox.deletedAt && !sandbox.warmSince;
    if (!isThere || !isAuthor(user, sandbox.createdByUserId)) {
      throw notFound('Sandbox not found');
    }
    return { ...(await reach(sandbox)), readOnly: false, isUser: true };
  }

  /** Whoever proves to be somebody; in auth mode `none` only the key of the instance is a proof. */
  async function proofOf(
    request: IncomingMessage,
  ): Promise<{ user: UserContext; instanceKey: boolean } | null> {
    const { headers } = request;
    const expected = deps.server.instanceKey;
    if (expected !== null && showsKey(headers)) deps.wrongKeys?.admit(request);
    const instanceKey = expected !== null && showsInstanceKey(headers, expected);
    if (expected !== null && !instanceKey) return null;
    try {
      const user = await deps.auth.authenticate(headers);
      return user.userId === null && !instanceKey ? null : { user, instanceKey };
    } catch (error) {
      if (isUnauthenticated(error)) return null;
      throw error;
    }
  }

  return {
    sandboxOfKey,
    reach,
    async bySessionKey(key, target) {
      const sandbox = await sandboxOfKey(key);
      if (!sandbox) throw new WrongKey();
      return ofSandbox(sandbox, target);
    },
    async byKey(request, { key, from }, target) {
      const sandbox = await sandboxOfKey(key);
      if (sandbox) return ofSandbox(sandbox, target);
      const proof = from === 'query' ? null : await proofOf(request);
      // A cookie beside a wrong key proves nothing about the key.
      if (proof === null || (proof.user.authType === 'cookie' && !proof.instanceKey)) {
        throw new WrongKey();
      }
      return ofUser(proof.user, target);
    },
    async byUser(request, target) {
      const proof = await proofOf(request);
      if (proof === null) {
        // An old cookie may stand beside the key of a first frame; an API key is meant to be the proof.
        if (apiKeyOf(request.headers) !== null) throw new WrongKey();
        return null;
      }
      // The browser adds cookies to whatever page opens a socket, and no CORS rule holds sockets back.
      const from = provenance(request.headers, deps.server);
      if (from === 'foreign' || (from === 'unknown' && proof.user.authType === 'cookie')) {
        throw new HttpError(
          403,
          from === 'foreign'
            ? 'This web page may not open sockets: add its origin to OH_PERMITTED_CORS_ORIGINS_0.'
            : 'Sockets with a session cookie must come from a page of this server: send its origin as Origin header.',
        );
      }
      return ofUser(proof.user, target);
    },
  };
}

const notReady = (state: string): HttpError =>
  new HttpError(503, `The sandbox ${state}; try again in a few seconds.`, undefined, { 'Retry-After': '5' });

const gone = (): HttpError =>
  new HttpError(410, 'The sandbox of this conversation is gone; its events can still be read.');

/** Nothing here ever wakes a sandbox: reading must not cost a running machine. */
function requireRunning({ status, deletedAt }: Pick<SandboxRecord, 'status' | 'deletedAt'>): void {
  if (deletedAt !== null) throw gone();
  if (status === 'RUNNING') return;
  if (status === 'STARTING') throw notReady('is starting');
  throw new HttpError(
    409,
    `The sandbox is ${status}: resume it (POST /api/v1/sandboxes/{sandbox_id}/resume), then connect again.`,
  );
}
