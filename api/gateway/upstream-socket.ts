import WebSocket from 'ws';
import { HttpError } from '../http-error.js';
import type { Reachable } from './gateway-access.js';

export interface UpstreamRequest {
  reachable: Reachable;
  /** Path and query at the agent-server; holds no key. */
  path: string;
  /** How long the agent-server may take to accept, in milliseconds. */
  timeoutMs: number;
  /** Largest frame taken from the agent-server, in bytes. */
  maxPayload: number;
  /** Gives up when the client has gone. */
  signal: AbortSignal;
}

/**
 * Opens a socket to an agent-server. It is paused: nothing is read until somebody resumes it, so no frame is lost.
 * @throws {HttpError} 400 it refuses the parameters, 502 it cannot be reached, 504 it does not answer
 */
export async function openUpstream(request: UpstreamRequest): Promise<WebSocket> {
  const { reachable, path, timeoutMs, maxPayload, signal } = request;
  const url = `${reachable.baseUrl.replace(/\/+$/, '').replace(/^http/, 'ws')}${path}`;
  const socket = new WebSocket(url, {
    headers: { 'X-Session-API-Key': reachable.sessionApiKey },
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(silent()), timeoutMs);
      const giveUp = (): void => reject(new HttpError(499, 'The client went away.'));
      const settle = (settled: () => void): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        settled();
      };
      signal.addEventListener('abort', giveUp, { once: true });
      if (signal.aborted) giveUp();
      socket.once('open', () => {
        socket.pause();
        settle(resolve);
      });
      socket.once('unexpected-response', (_request, { statusCode = 0 }) => {
        settle(() => reject(refused(statusCode)));
      });
      // Also after the first: a socket that is being torn down may report more than once.
      socket.on('error', (error) => settle(() => reject(unreachable(error))));
    });
  } catch (error) {
    socket.terminate();
    throw error;
  }
  return socket;
}

const silent = (): HttpError =>
  new HttpError(504, 'The agent-server of this sandbox does not answer; try again in a few seconds.');

/** The key is right, so what it refuses is the rest of the request. */
const refused = (status: number): HttpError =>
  status === 400 || status === 403
    ? new HttpError(400, 'The agent-server refuses this socket: check the query parameters.')
    : new HttpError(502, `The agent-server refused the socket with status ${status}.`);

const unreachable = (error: Error): HttpError => {
  const code = 'code' in error ? ` (${String(error.code)})` : '';
  return new HttpError(
    502,
    `The agent-server of this sandbox cannot be reached${code}; try again in a few seconds.`,
  );
};
