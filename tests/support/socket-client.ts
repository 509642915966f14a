/** A client of sockets, as tests use it. */
import { once } from 'node:events';
import WebSocket, { type ClientOptions } from 'ws';

export interface Closed {
  code: number;
  reason: string;
}

/** One connection: what it received, and how it ended. */
export class SocketClient {
  readonly frames: { data: Buffer; isBinary: boolean }[] = [];
  /** Resolves with the close. */
  readonly closed: Promise<Closed>;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, isBinary) => this.frames.push({ data, isBinary }));
    socket.on('error', () => undefined);
    this.closed = once(socket, 'close').then(([code, reason]: unknown[]) => ({
      code: code as number,
      reason: String(reason),
    }));
  }

  get texts(): string[] {
    return this.frames.map(({ data }) => data.toString());
  }

  /** @throws {Refused} when the handshake is answered with anything but 101 */
  static async open(url: string, options: ClientOptions = {}): Promise<SocketClient> {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), { ...options, perMessageDeflate: false });
    const client = new SocketClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', (_request, response) => {
        let body = '';
        response.on('data', (chunk) => (body += String(chunk)));
        response.on('end', () => reject(new Refused(response.statusCode ?? 0, body)));
      });
    });
    return client;
  }
}

/** The server answered the handshake with a status. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly body: string,
  ) {
    super(`refused with ${status}: ${body}`);
  }
}

/** The status with which a handshake is refused; 101 when it is not. */
export async function handshakeStatus(url: string, options: ClientOptions = {}): Promise<number> {
  try {
    const { socket } = await SocketClient.open(url, options);
    socket.terminate();
    return 101;
  } catch (error) {
    if (error instanceof Refused) return error.status;
    throw error;
  }
}
