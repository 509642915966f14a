/** Answers to handshakes that do not become sockets, and the same refusals as close codes where one has. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerTo } from '../errors.js';
import type { ErrorAnswer } from '../http-error.js';

/** Refusals of a caller's making are answers; everything else is a fault of ours and told without details. */
export const refusalOf = (error: unknown): ErrorAnswer =>
  answerTo(error) ?? { status: 500, body: { detail: 'Internal Server Error' }, headers: {} };

/** Writes an HTTP answer to a handshake and hangs up. */
export function refuse(socket: Duplex, { status, body, headers }: ErrorAnswer): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const text = JSON.stringify(body);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Connection: close',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
    // As every other answer of ours: helmet knows no answers without a request.
    'Cache-Control: no-cache, no-store, must-revalidate, max-age=0',
    "Content-Security-Policy: default-src 'none';frame-ancestors 'none';base-uri 'none'",
    'Referrer-Policy: no-referrer',
    'X-Content-Type-Options: nosniff',
    'X-Frame-Options: SAMEORIGIN',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`);
}

export interface CloseFrame {
  code: number;
  reason: string;
}

/** What clients of the agent-server know: 4001 and 4004 are final, the others worth another try (agent-server 12.1). */
export function closeFrameOf({ status, body }: ErrorAnswer): CloseFrame {
  const detail = typeof body === 'object' && body !== null && 'detail' in body ? String(body.detail) : '';
  if (status === 401 || status === 403) return { code: 4001, reason: 'Authentication failed' };
  if (status === 404 || status === 410) return { code: 4004, reason: 'Conversation not found' };
  if (status === 400) return { code: 1008, reason: shortened(detail) };
  if (status === 500) return { code: 1011, reason: 'Internal Server Error' };
  return { code: status === 429 ? 1013 : 1012, reason: shortened(detail) };
}

/** A close frame has room for 123 bytes of reason. */
export const shortened = (text: string): string => {
  let short = text;
  while (Buffer.byteLength(short) > 123) short = short.slice(0, -1);
  return short;
};
