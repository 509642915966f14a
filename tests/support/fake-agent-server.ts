import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen, originOf, portOf, stop } from './loopback.js';

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
  /** Status of the next answers to messages, which are not kept then; one for each. */
  readonly refusals: number[] = [];
  /** What happens to the next messages and their answers, one for each. */
  readonly mishaps: ('kept, answer lost' | 'lost' | 'kept, answered with 500' | 'hangs')[] = [];
  /** A tool call that keeps messages out of the log until it ends; they are written down then. */
  inToolCall = false;
  readonly #logs = new Map<string, FakeEvent[]>();
  readonly #kept: (() => void)[] = [];
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async listen(): Promise<this> {
    await listen(this.#server);
    return this;
  }

  get port(): number {
    return portOf(this.#server);
  }

  get url(): string {
    return originOf(this.#server);
  }

  close(): Promise<void> {
    return stop(this.#server);
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
    const message = /^\/api\/conversations\/([^/]+)\/events$/.exec(url.pathname)?.[1];
    if (request.method === 'POST' && message !== undefined) {
      await this.#take(message, JSON.parse(text) as FakeMessage, response);
      return;
    }
    const answer =
      url.pathname === '/api/conversations'
        ? ids.map((id) => ({ id, execution_status: this.executionStatus }))
        : (this.#ofConversation(url) ?? { success: true });
    response.writeHead(this.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  /** Texts of the users' messages in the log of a conversation (dashed id), in order. */
  heard(id: string): string[] {
    return this.log(id).flatMap(({ llm_message: message }) =>
      message ? [message.content.map(({ text }) => text ?? '').join('\n')] : [],
    );
  }

  /** Everything in the log of a conversation. */
  log(id: string): FakeEvent[] {
    const log = this.#logs.get(id) ?? [];
    this.#logs.set(id, log);
    return log;
  }

  /** The tool call ends: what waited for it is written down. */
  endToolCall(): void {
    this.inToolCall = false;
    this.executionStatus = 'idle';
    for (const keep of this.#kept.splice(0)) keep();
  }

  async #take(id: string, message: FakeMessage, response: ServerResponse): Promise<void> {
    const refusal = this.refusals.shift() ?? (this.status === 200 ? undefined : this.status);
    const mishap = refusal === undefined ? this.mishaps.shift() : undefined;
    if (mishap === 'hangs') return;
    if (mishap === 'lost') {
      response.destroy();
      return;
    }
    const keep = () =>
      void this.log(id).push({
        id: randomUUID(),
        kind: 'MessageEvent',
        source: 'user',
        timestamp: new Date().toISOString(),
        llm_message: { role: 'user', content: message.content },
      });
    if (refusal === undefined) {
      if (this.inToolCall) this.#kept.push(keep);
      else keep();
    }
    if (mishap === 'kept, answer lost') {
      response.destroy();
      return;
    }
    const status = refusal ?? (mishap === 'kept, answered with 500' ? 500 : 200);
    response.writeHead(status, { 'content-type': 'application/json' }).end('{"success":true}');
  }

  /** What is asked about one conversation; undefined for other questions. */
  #ofConversation(url: URL): unknown {
    const [, id = '', rest = ''] = /^\/api\/conversations\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? [];
    if (id === '') return undefined;
    if (rest === '') return { id, execution_status: this.executionStatus };
    if (rest === '/events/count') return this.log(id).length;
    if (rest !== '/events/search') return undefined;
    const descending = url.searchParams.get('sort_order') === 'TIMESTAMP_DESC';
    const all = descending ? [...this.log(id)].reverse() : this.log(id);
    const from = Math.max(
      0,
      all.findIndex((event) => event.id === url.searchParams.get('page_id')),
    );
    const limit = Number(url.searchParams.get('limit') ?? 100);
    return { items: all.slice(from, from + limit), next_page_id: all[from + limit]?.id ?? null };
  }
}

interface FakeMessage {
  content: { type: string; text?: string; image_urls?: string[] }[];
}

export interface FakeEvent {
  id: string;
  kind: string;
  source: string;
  timestamp: string;
  llm_message?: { role: string; content: FakeMessage['content'] };
}
