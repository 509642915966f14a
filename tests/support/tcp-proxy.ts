/** A network between two programs that can be cut, or fall silent. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { listen, portOf, stop } from './loopback.js';

/** Where a connection leads; a function is asked for each. */
export type Target = { host: string; port: number } | (() => Promise<{ host: string; port: number }>);

export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #silent = false;
  #cutAt: string | null = null;
  #loseAnswerTo: string | null = null;
  #keepAnswerTo: string | null = null;
  /** How many answers were kept back. */
  kept = 0;
  /** First lines of the requests that went through, in order. */
  readonly requests: string[] = [];

  private constructor(target: Target) {
    this.#server = createServer((near) => {
      if (typeof target !== 'function') return this.#join(near, connect(target));
      near.on('error', () => near.destroy());
      target().then(
        (found) => this.#join(near, connect(found)),
        () => near.destroy(),
      );
    });
  }

  static async open(target: Target): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await listen(proxy.#server);
    return proxy;
  }

  get port(): number {
    return portOf(this.#server);
  }

  /** Breaks the next connection over which this text is sent, before it arrives. */
  cutAt(text: string): void {
    this.#cutAt = text;
  }

  /** Lets the next request with this text arrive, and breaks its connection when it is answered. */
  loseAnswerTo(text: string): void {
    this.#loseAnswerTo = text;
  }

  /** Lets the next request with this text arrive; whoever sent it waits for an answer for ever. */
  keepAnswerTo(text: string): void {
    this.#keepAnswerTo = text;
  }

  /** Lets nothing through in either direction, and keeps all connections. */
  fallSilent(): void {
    this.#silent = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  speak(): void {
    this.#silent = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    await stop(this.#server);
  }

  #join(near: Socket, far: Socket): void {
    const pair: [Socket, Socket] = [near, far];
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    let isAnswerLost = false;
    let isAnswerKept = false;
    for (const socket of pair) socket.on('error', end).on('close', end);
    near.on('data', (data: Buffer) => {
      if (this.#cutAt !== null && data.includes(this.#cutAt)) {
        this.#cutAt = null;
        near.resetAndDestroy();
        return;
      }
      const [line] = /^(?:GET|POST|PUT|PATCH|DELETE) \S+/.exec(data.toString('latin1')) ?? [];
      if (line !== undefined) this.requests.push(line);
      if (this.#loseAnswerTo !== null && data.includes(this.#loseAnswerTo)) {
        this.#loseAnswerTo = null;
        isAnswerLost = true;
      }
      if (this.#keepAnswerTo !== null && data.includes(this.#keepAnswerTo)) {
        this.#keepAnswerTo = null;
        isAnswerKept = true;
      }
      far.write(data);
    });
    far.on('data', (data: Buffer) => {
      if (isAnswerKept) this.kept++;
      else if (isAnswerLost) near.resetAndDestroy();
      else near.write(data);
    });
    if (this.#silent) for (const socket of pair) socket.pause();
  }
}
