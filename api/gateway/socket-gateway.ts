/**
 * The agent-servers' sockets on this server's own port: `/sockets/events/{conversation}`, `/sockets/bash-events`, and the
 * same below the path of a sandbox. A caller is known before the handshake ends, or by the first frame; the agent-server
 * gets the key as a header, never in a URL.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { WebSocketServer, type WebSocket } from 'ws';
import { parseEventTimestamp } from '../../events/event-timestamp.js';
import { othersThing } from '../authorship.js';
import { HttpError, notFound } from '../http-error.js';
import type { WrongKeys } from '../wrong-keys.js';
import { jsonOf, keyOfAuthFrame, shownKey } from './credentials.js';
import { receiveAuthFrame } from './first-frame.js';
import { WrongKey, type Admission, type GatewayAccess, type Reachable } from './gateway-access.js';
import type { OpenSockets, Place } from './open-sockets.js';
import { pipe, type Pipe, type PipeOptions } from './pipe.js';
import { closeFrameOf, refusalOf, refuse, type CloseFrame } from './refusal.js';
import type { SocketLimits } from './socket-limits.js';
import { readSocketTarget, upstreamPath, type SocketTarget } from './socket-request.js';
import { openUpstream } from './upstream-socket.js';

export interface SocketGatewayDeps {
  access: GatewayAccess;
  open: OpenSockets;
  limits: SocketLimits;
  /** A stored event as JSON, or null: where a client's `last_event_id` stands in time. */
  readEvent: (conversationId: string, eventId: string) => Promise<string | null>;
  /** Absent: wrong keys are not counted. */
  wrongKeys?: WrongKeys;
  logger: Pick<Logger, 'info' | 'warn'>;
}

export interface SocketGateway {
  /** Takes a WebSocket handshake; for the `upgrade` event of the HTTP server. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes all sockets with 1001 and takes no others. */
  close(): Promise<void>;
}

const GOING_AWAY: CloseFrame = { code: 1001, reason: 'The server is being restarted; connect again.' };

export function createSocketGateway(deps: SocketGatewayDeps): SocketGateway {
  const { access, limits, logger } = deps;
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false, // costs memory per socket, and the agent-server does not do it either
    maxPayload: limits.clientFrameBytes,
  });
  let closing = false;
  let unauthenticated = 0;

  async function serve(handshake: Handshake): Promise<void> {
    if (closing) throw new HttpError(503, 'The server is being restarted; connect again.');
    const admission = await admit(handshake);
    if (!admission) return serveAfterFirstFrame(handshake);
    const place = deps.open.take(admission);
    let upstream: WebSocket | undefined;
    try {
      upstream = await connect(handshake, admission);
      if (handshake.gone.aborted) throw new Settled();
      join({ client: accept(handshake), upstream, place, handshake, admission });
    } catch (error) {
      upstream?.terminate();
      place.release();
      throw error;
    }
  }

  /** By what the handshake shows; null when that is nothing. */
  function admit({ request, target, query }: Handshake): Promise<Admission | null> {
    const shown = shownKey(request.headers, query);
    return shown ? access.byKey(request, shown, target) : access.byUser(request, target);
  }

  /** Nobody is known by headers: browsers cannot send any, and say by their first frame who they are. */
  async function serveAfterFirstFrame(handshake: Handshake): Promise<void> {
    if (unauthenticated >= limits.unauthenticated) {
      throw new HttpError(503, 'Too many sockets wait for their keys; connect again.', undefined, {
        'Retry-After': '5',
      });
    }
    const client = accept(handshake);
    unauthenticated++;
    let place: Place | undefined;
    try {
      const first = await receiveAuthFrame(client, limits.authMs).finally(() => unauthenticated--);
      if (first.key === null) throw new HttpError(401, 'Unauthorized');
      const admission = await access.bySessionKey(first.key, handshake.target);
      const taken = (place = deps.open.take(admission));
      const upstream = await connect(handshake, admission);
      first.proceed(() => join({ client, upstream, place: taken, handshake, admission }));
    } catch (error) {
      place?.release();
      const answer = refusalOf(counted(handshake.request, error));
      report(handshake.path, answer.status, error);
      const { code, reason } = closeFrameOf(answer);
      client.resume(); // or its answer to the close would not be read
      client.close(code, reason);
      setTimeout(() => client.terminate(), limits.closeMs).unref();
    }
  }

  async function connect({ target, query, gone }: Handshake, reachable: Reachable): Promise<WebSocket> {
    return openUpstream({
      reachable,
      path: upstreamPath(target, query, await sinceOf(target, query)),
      timeoutMs: limits.connectMs,
      maxPayload: limits.upstreamFrameBytes,
      signal: gone,
    });
  }

  /** The time of the last event that a client has, if it says so and we have it; the agent-server only knows times. */
  async function sinceOf({ kind, conversationId }: SocketTarget, query: URLSearchParams) {
    const eventId = query.get('last_event_id');
    if (!eventId || kind !== 'events' || conversationId === null) return null;
    const event = await deps.readEvent(conversationId, eventId);
    if (event === null) return null;
    const { timestamp } = JSON.parse(event) as { timestamp?: unknown };
    return typeof timestamp === 'string' ? parseEventTimestamp(timestamp) : null;
  }

  function accept({ request, socket, head }: Handshake): WebSocket {
    let accepted: WebSocket | undefined;
    server.handleUpgrade(request, socket, head, (client) => (accepted = client));
    // The headers are no handshake, and `ws` has answered so itself.
    if (!accepted) throw new Settled();
    accepted.on('error', () => undefined); // told by its close
    return accepted;
  }

  function join({ client, upstream, place, handshake, admission }: Junction): void {
    const { target, query } = handshake;
    const joined = pipe(client, upstream, {
      ...limits,
      fromClient(data, isBinary) {
        // A repeated key is for us; agent-servers would take it for a command on some sockets.
        if (keyOfAuthFrame(data, isBinary) !== undefined) return false;
        if (admission.readOnly) client.send(readOnlyNotice());
        return !admission.readOnly;
      },
      ...exceptEvent(query.get('last_event_id')),
    });
    place.hold(joined);
    const since = Date.now();
    const { kind, conversationId } = target;
    logger.info({ socket: kind, conversationId }, 'socket opened');
    client.once('close', (code) => {
      logger.info({ socket: kind, conversationId, code, durationMs: Date.now() - since }, 'socket closed');
    });
    void joined.ended.then(() => place.release());
    if (admission.isUser) lookAgain(handshake, joined);
    if (closing) joined.end(GOING_AWAY);
  }

  /** Who was let in as a user is shut out when the session, the key or the membership is over. */
  function lookAgain(handshake: Handshake, joined: Pipe): void {
    let looking = false;
    const look = async (): Promise<void> => {
      try {
        if (await admit(handshake)) return;
        throw new HttpError(401, 'Unauthorized');
      } catch (error) {
        const answer = refusalOf(error);
        // Something of ours is away: nothing has been said of the user.
        if (answer.status < 500) joined.end(closeFrameOf(answer));
        report(handshake.path, answer.status, error);
      } finally {
        looking = false;
      }
    };
    const timer = setInterval(() => {
      if (looking) return;
      looking = true;
      void look();
    }, limits.lookAgainMs);
    void joined.ended.then(() => clearInterval(timer));
  }

  const counted = (request: IncomingMessage, error: unknown): unknown =>
    error instanceof WrongKey && deps.wrongKeys ? deps.wrongKeys.note(request, error) : error;

  /** One line per refusal, with the path alone: keys travel in queries and headers. */
  function report(path: string, status: number, error: unknown): void {
    if (status >= 500) logger.warn({ err: error, path, status }, 'socket refused');
    else logger.info({ path, status }, 'socket refused');
  }

  return {
    handleUpgrade(request, socket, head) {
      socket.on('error', () => socket.destroy());
      const { path, query } = splitUrl(request.url ?? '');
      const target = readSocketTarget(path);
      const gone = new AbortController();
      socket.once('close', () => gone.abort());
      const served = target
        ? serve({ request, socket, head, path, query, target, gone: gone.signal })
        : Promise.reject(notFound());
      served.catch((error: unknown) => {
        if (error instanceof Settled) return;
        const answer = refusalOf(counted(request, error));
        report(path, answer.status, error);
        refuse(socket, answer);
      });
    },
    async close() {
      closing = true;
      const waiting = new Set(server.clients);
      await deps.open.endAll(GOING_AWAY);
      // Whoever had not said yet who it is.
      for (const client of waiting) client.terminate();
      server.close();
    },
  };
}

interface Handshake {
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
  /** Without query. */
  path: string;
  query: URLSearchParams;
  target: SocketTarget;
  /** Aborted when the client's connection is closed. */
  gone: AbortSignal;
}

interface Junction {
  client: WebSocket;
  upstream: WebSocket;
  place: Place;
  handshake: Handshake;
  admission: Admission;
}

/** In the form in which agent-servers refuse a frame (agent-server 12.1). */
const readOnlyNotice = (): string =>
  JSON.stringify({
    id: randomUUID(),
    timestamp: new Date().toISOString(),
    source: 'environment',
    kind: 'ServerErrorEvent',
    code: 'ReadOnly',
    detail: othersThing('conversation').detail,
  });

/** The client has its answer, or has gone. */
class Settled extends Error {}

function splitUrl(url: string): { path: string; query: URLSearchParams } {
  const end = url.indexOf('?');
  return end < 0
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, end), query: new URLSearchParams(url.slice(end + 1)) };
}

/** The agent-server sends again what has the time of the client's last event, that event included: it is left out, once. */
function exceptEvent(eventId: string | null): Pick<PipeOptions, 'fromUpstream'> {
  if (!eventId) return {};
  let awaited = true;
  return {
    fromUpstream(data, isBinary) {
      if (!awaited || isBinary || !data.includes(eventId)) return true;
      const event = jsonOf(data);
      if (typeof event !== 'object' || event === null || !('id' in event) || event.id !== eventId)
        return true;
      awaited = false;
      return false;
    },
  };
}
