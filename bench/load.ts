/**
 * Requests over connections that are kept, as many at a time as asked for. Written on bare sockets: a whole HTTP client
 * would take more of the machine than the server that is measured.
 */
import { createConnection, type Socket } from 'node:net';
import { percentile } from './statistics.js';

export interface LoadOptions {
  /** Base URL of the server. */
  url: string;
  /** Connections, each with one request under way. */
  concurrency: number;
  /** Requests in all. */
  requests: number;
  /** The next request of a connection, see {@link httpRequest}. */
  next: (connection: number) => Buffer;
}

export interface LoadResult {
  perSecond: number;
  /** Milliseconds from the first byte sent to the last byte received. */
  p50: number;
  p95: number;
  p99: number;
}

/** The bytes of a request. */
export function httpRequest(
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: string } = {},
): Buffer {
  const payload = body === undefined ? null : Buffer.from(body);
  const lines = Object.entries({
    Host: 'localhost',
    ...(payload ? { 'Content-Type': 'application/json', 'Content-Length': String(payload.length) } : {}),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  return payload ? Buffer.concat([head, payload]) : head;
}

/** Sends the requests. @throws {Error} when one is not answered with 200 */
export async function load({ url, concurrency, requests, next }: LoadOptions): Promise<LoadResult> {
  const { hostname, port } = new URL(url);
  const connections = await Promise.all(
    Array.from({ length: concurrency }, () => connect(hostname, Number(port))),
  );
  const latencies: number[] = [];
  let left = requests;
  const began = performance.now();
  try {
    await Promise.all(
      connections.map(async (connection, index) => {
        while (left-- > 0) {
          const bytes = next(index);
          const sent = performance.now();
          await connection.ask(bytes);
          latencies.push(performance.now() - sent);
        }
      }),
    );
    return {
      perSecond: (requests * 1_000) / (performance.now() - began),
      p50: percentile(latencies, 0.5),
      p95: percentile(latencies, 0.95),
      p99: percentile(latencies, 0.99),
    };
  } finally {
    for (const { close } of connections) close();
  }
}

interface KeptConnection {
  ask: (bytes: Buffer) => Promise<void>;
  close: () => void;
}

async function connect(host: string, port: number): Promise<KeptConnection> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = createConnection({ host, port, noDelay: true }, () => resolve(opening));
    opening.once('error', reject);
  });
  let waiting: { resolve: () => void; reject: (error: Error) => void } | null = null;
  let received = Buffer.alloc(0);
  const fail = (error: Error): void => waiting?.reject(error);
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the server has closed the connection')));
  socket.on('data', (piece) => {
    received = received.length === 0 ? piece : Buffer.concat([received, piece]);
    const answer = wholeAnswer(received);
    if (!answer || !waiting) return;
    const { resolve, reject } = waiting;
    waiting = null;
    received = Buffer.alloc(0);
    if (answer.status === 200) resolve();
    else reject(new Error(`answered ${answer.text.slice(0, 600)}`));
  });
  return {
    ask: (bytes) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(bytes);
      }),
    close: () => socket.destroy(),
  };
}

/** The answer, once all of it has come; the server tells its length. */
function wholeAnswer(bytes: Buffer): { status: number; text: string } | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const head = bytes.toString('latin1', 0, end);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer without length: ${head}`);
  if (bytes.length < end + 4 + Number(length)) return null;
  const status = Number(head.slice(9, 12));
  return { status, text: status === 200 ? '' : bytes.toString('utf8') };
}
