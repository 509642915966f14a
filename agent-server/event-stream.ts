/** Events of a conversation as they happen, over the agent-server's socket (agent-server contract 12.1). */
import WebSocket from 'ws';
import { AgentServerError, truncate } from './errors.js';
import { AgentEvent } from './schemas.js';

export interface EventStreamRequest {
  /** Base URL of the agent-server, `http` or `https`. */
  baseUrl: string;
  sessionApiKey: string;
  conversationId: string;
  /** `all`: the stored log first, then what happens. `live` (default): only what happens from now on. */
  resend?: 'all' | 'live';
  /** Ends the stream; the iteration then simply stops. */
  signal?: AbortSignal;
  /** How often a broken connection is made again in a row; 5 if left out. */
  reconnects?: number;
}

const FIRST_RECONNECT_MS = 200;
const HANDSHAKE_MS = 15_000;

/** Closes that a new connection would not mend. */
const FINAL_CLOSES: Record<number, { status: number; detail: string }> = {
  4001: { status: 401, detail: 'the session key was refused' },
  4004: { status: 404, detail: 'the server does not know this conversation' },
};

/**
 * Each event once, in the order of arrival; `full_state` snapshots and streaming deltas included. The first
 * one may be late: it waits for a running tool call. A broken connection is made again, and the log that is
 * then resent closes the gap.
 * @throws {AgentServerError} when the server refuses, or stays away
 */
export async function* eventStream(request: EventStreamRequest): AsyncGenerator<AgentEvent> {
  const seen = new Set<string>();
  const most = request.reconnects ?? 5;
  let newest = '';
  for (let failures = 0; ;) {
    try {
      for await (const event of connection(request, resendQuery(request, newest))) {
        failures = 0;
        if (seen.has(event.id)) continue;
        // Deltas are never stored, so they cannot come again.
        if (event.kind !== 'StreamingDeltaEvent') seen.add(event.id);
        if (event.timestamp > newest) newest = event.timestamp;
        yield event;
      }
      return;
    } catch (error) {
      if (!(error instanceof AgentServerError) || error.kind === 'http' || ++failures > most) throw error;
    }
    await pause(FIRST_RECONNECT_MS * 2 ** (failures - 1), request.signal);
    if (request.signal?.aborted) return;
  }
}

/** After a break the log is resent, all of it or from the newest event seen; what came before is dropped by id. */
function resendQuery(request: EventStreamRequest, newest: string): string {
  if (request.resend === 'all') return '?resend_mode=all';
  return newest === '' ? '' : `?resend_mode=since&after_timestamp=${encodeURIComponent(newest)}`;
}

/** One connection; ends quietly when aborted, throws when it is closed by the other side. */
async function* connection(request: EventStreamRequest, query: string): AsyncGenerator<AgentEvent, void> {
  const path = `/sockets/events/${encodeURIComponent(request.conversationId)}`;
  const url = `${request.baseUrl.replace(/^http/, 'ws')}${path}${query}`;
  const failure = (kind: AgentServerError['kind'], status: number | null, detail: string, cause?: unknown) =>
    new AgentServerError({ kind, status, detail: truncate(detail), call: `GET ${path}`, cause });

  const waiting: AgentEvent[] = [];
  let ended: { error: AgentServerError | null } | null = null;
  let wake: () => void = () => undefined;
  const end = (error: AgentServerError | null) => {
    ended ??= { error };
    wake();
  };

  const socket = new WebSocket(url, { handshakeTimeout: HANDSHAKE_MS, maxPayload: 256 * 1024 * 1024 });
  const abort = () => {
    end(null);
    socket.terminate();
  };
  socket.on('open', () => {
    socket.send(JSON.stringify({ type: 'auth', session_api_key: request.sessionApiKey }));
  });
  socket.on('message', (data) => {
    const event = parseEvent(data);
    if (event) waiting.push(event);
    wake();
  });
  socket.on('unexpected-response', (_, response) => {
    end(failure('http', response.statusCode ?? null, `the handshake was refused: ${response.statusCode}`));
    socket.terminate();
  });
  socket.on('error', (error: Error & { code?: string }) => {
    const refused = error.code === 'ECONNREFUSED';
    end(failure(refused ? 'refused' : 'unreachable', null, error.code ?? error.message, error));
  });
  socket.on('close', (code, reason) => {
    const final = FINAL_CLOSES[code];
    if (final) end(failure('http', final.status, final.detail));
    else end(failure('unreachable', null, `the socket was closed: ${code} ${reason.toString()}`));
  });
  request.signal?.addEventListener('abort', abort, { once: true });
  if (request.signal?.aborted) abort();

  try {
    for (;;) {
      for (let event = waiting.shift(); event; event = waiting.shift()) yield event;
      const state = ended as { error: AgentServerError | null } | null;
      if (state?.error) throw state.error;
      if (state) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    request.signal?.removeEventListener('abort', abort);
    socket.terminate();
  }
}

/** Frames that are no events (a future kind of greeting, say) are passed over. */
function parseEvent(data: WebSocket.RawData): AgentEvent | null {
  const text = Buffer.isBuffer(data)
    ? data.toString()
    : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]).toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null; // the contract has JSON text frames only
  }
  const parsed = AgentEvent.safeParse(value);
  return parsed.success ? parsed.data : null;
}

/** Waits, or until aborted. */
async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
    if (signal?.aborted) done();
  });
}
