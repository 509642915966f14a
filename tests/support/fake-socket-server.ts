/** An agent-server's sockets and routes as the gateway meets them, over real connections; can be told to misbehave. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { listen, originOf, portOf, stop } from './loopback.js';

export interface SeenRequest {
  method: string;
  /** Path and query. */
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export class FakeSocketServer {
  /** Handshakes that came, sockets that are open, requests that came. */
  readonly handshakes: SeenRequest[] = [];
  readonly sockets: WebSocket[] = [];
  readonly requests: SeenRequest[] = [];
  /** Frames that clients sent, as text. */
  readonly received: string[] = [];
  /** Status with which handshakes are refused. */
  refuseWith: number | null = null;
  /** Takes handshakes and requests and never answers. */
  hung = false;
  /** What happens to a new socket. */
  onSocket: (socket: WebSocket) => void = () => undefined;
  /** How requests are answered. */
  respond: (request: SeenRequest, response: ServerResponse) => void = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"success":true}');
  };
  readonly #raw = new Set<Duplex>();
  readonly #webSockets = new WebSocketServer({ noServer: true });
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async listen(): Promise<this> {
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on('connection', (socket) => this.#raw.add(socket));
    await listen(this.#server);
    return this;
  }

  get port(): number {
    return portOf(this.#server);
  }

  get url(): string {
    return originOf(this.#server);
  }

  /** Cuts every connection without a word, as a killed process does. */
  die(): void {
    for (const socket of this.#raw) socket.destroy();
  }

  async close(): Promise<void> {
    this.die();
    await stop(this.#server);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.handshakes.push(seen(request, ''));
    if (this.hung) return;
    if (this.refuseWith !== null) {
      socket.end(`HTTP/1.1 ${this.refuseWith} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.sockets.push(webSocket);
      webSocket.on('error', () => undefined);
      webSocket.on('message', (data: Buffer) => this.received.push(data.toString()));
      this.onSocket(webSocket);
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const taken = seen(request, body);
    this.requests.push(taken);
    if (!this.hung) this.respond(taken, response);
  }
}

const seen = ({ method = '', url = '', headers }: IncomingMessage, body: string): SeenRequest => ({
  method,
  url,
  headers,
  body,
});
