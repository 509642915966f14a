import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface AgentServerRequest {
  method: string;
  path: string;
  ids: string[];
  sessionKey: string | undefined;
  body: unknown;
}

/** What an agent-server answers to the API, over real HTTP; can be told to misbehave. */
export class FakeAgentServer {
  readonly requests: AgentServerRequest[] = [];
  /** Status of every conversation it is asked about. */
  executionStatus = 'idle';
  /** HTTP status of every answer. */
  status = 200;
  /** Takes requests and never answers. */
  hung = false;
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const ids = url.searchParams.getAll('ids');
    this.requests.push({
      method: request.method ?? '',
      path: url.pathname,
      ids,
      sessionKey: request.headers['x-session-api-key'] as string | undefined,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    });
    if (this.hung) return;
    const answer =
      url.pathname === '/api/conversations'
        ? ids.map((id) => ({ id, execution_status: this.executionStatus }))
        : { success: true };
    response.writeHead(this.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }
}
