/** Events of the Python server: taking them in, their pages and their counts, in turns with ours. */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hexId } from '../../contract/ids.js';
import { timesBetter, type Beside } from '../beside.js';
import { httpRequest, load } from '../load.js';
import { duration, range, whole } from '../measure.js';
import { median } from '../statistics.js';
import type { PythonServer } from './server.js';
import type { PythonSide } from './side.js';

const FIRST_TIME = Date.UTC(2026, 0, 1);
const PAGE = 100;
const SIZES = { small: 1_000, large: 10_000 } as const;
/** Requests of a turn: one reads every event of the conversation. */
const REQUESTS = { small: 5, large: 1 } as const;
/** Batches of a turn. */
const BATCHES = 100;

/** An event that it takes, which parses all of it: as large as those that Callboard is measured with. */
function eventOf(id: string, place: number, message: boolean): Record<string, unknown> {
  const content = [{ type: 'text', text: 'x'.repeat(1_200) }];
  const common = { id, timestamp: new Date(FIRST_TIME + place * 100).toISOString().slice(0, -1) };
  if (message) {
    return { ...common, kind: 'MessageEvent', source: 'agent', llm_message: { role: 'assistant', content } };
  }
  return {
    ...common,
    kind: 'ObservationEvent',
    source: 'environment',
    tool_name: 'terminal',
    tool_call_id: 'call',
    action_id: id,
    observation: { kind: 'TerminalObservation', command: 'true', exit_code: 0, content },
  };
}

export class PythonIngest {
  readonly #rates: number[] = [];
  #clock = 0;

  private constructor(
    private readonly server: PythonServer,
    private readonly sandbox: { id: string; session_api_key: string | null },
  ) {}

  static async of(python: PythonSide | null): Promise<PythonIngest | null> {
    if (!python) return null;
    const server = await python.light();
    const { body } = await server.call<PythonIngest['sandbox']>('POST', '/api/v1/sandboxes');
    return new PythonIngest(server, body);
  }

  /** @param batch events in a request */
  async turn({ batch, concurrency }: { batch: number; concurrency: number }): Promise<void> {
    const paths = Array.from({ length: concurrency }, () => `/api/v1/webhooks/events/${hexId(randomUUID())}`);
    const events = () => Array.from({ length: batch }, () => eventOf(randomUUID(), this.#clock++, false));
    const result = await load({
      url: this.server.url,
      concurrency,
      requests: BATCHES,
      next: (lane) =>
        httpRequest('POST', paths[lane] ?? '', {
          headers: { 'X-Session-API-Key': this.sandbox.session_api_key ?? '' },
          body: JSON.stringify(events()),
        }),
    });
    this.#rates.push(result.perSecond * batch);
  }

  beside(ours: readonly number[]): Beside {
    return {
      value: `${whole(median(this.#rates))} events/s (${range(this.#rates, whole)}), not synced`,
      ratio: timesBetter({ ours, theirs: this.#rates, better: 'more' }),
    };
  }

  async end(): Promise<void> {
    await this.server.call('DELETE', `/api/v1/sandboxes/${this.sandbox.id}?sandbox_id=${this.sandbox.id}`);
  }
}

type Size = keyof typeof SIZES;

export class PythonPages {
  readonly #times = new Map<string, Record<Size, number[]>>();

  private constructor(
    private readonly server: PythonServer,
    private readonly ids: Record<Size, string>,
  ) {}

  /** @param messageEvery every how manieth event is a message */
  static async of(python: PythonSide | null, messageEvery: number): Promise<PythonPages | null> {
    if (!python) return null;
    const server = await python.light();
    const [small, large] = [
      await seed(server, SIZES.small, messageEvery),
      await seed(server, SIZES.large, messageEvery),
    ];
    return new PythonPages(server, { small, large });
  }

  /** A page of each size; `deep` is at nine tenths, where its pages have a number and no cursor. */
  async page(title: string, query: string): Promise<void> {
    for (const size of ['small', 'large'] as const) {
      const deep = title === 'deep' ? `limit=${PAGE}&page_id=${SIZES[size] * 0.9}` : query;
      await this.#turn(title, size, `search?${deep}`);
    }
  }

  async count(query: string): Promise<void> {
    await this.#turn('count', 'small', `count?${query}`);
  }

  /** Once, as it reads all events for each hundred that it counts. */
  async countLarge(query: string): Promise<void> {
    await this.#turn('count', 'large', `count?${query}`);
  }

  /** @param ours times at a thousand events */
  beside(title: string, ours: readonly number[]): Beside {
    const { small, large } = this.#timesOf(title);
    const once = large.length === 1 && small.length > 1 ? ', once' : '';
    return {
      value: `${duration(median(small))} at 1k, ${duration(median(large))} at 10k${once}`,
      ratio: timesBetter({ ours, theirs: small, better: 'less' }),
    };
  }

  async #turn(title: string, size: Size, question: string): Promise<void> {
    const request = httpRequest('GET', `/api/v1/conversation/${this.ids[size]}/events/${question}`);
    const { p50 } = await load({
      url: this.server.url,
      concurrency: 1,
      requests: REQUESTS[size],
      next: () => request,
    });
    const times = this.#timesOf(title);
    times[size].push(p50);
    this.#times.set(title, times);
  }

  #timesOf(title: string): Record<Size, number[]> {
    return this.#times.get(title) ?? { small: [], large: [] };
  }
}

/** Where it looks for them there are as many events as it would have written; their conversation needs no row. */
async function seed(server: PythonServer, events: number, messageEvery: number): Promise<string> {
  const id = hexId(randomUUID());
  const directory = join(server.directory, 'v1_conversations', id);
  await mkdir(directory, { recursive: true });
  for (let place = 0; place < events; place++) {
    const event = hexId(randomUUID());
    await writeFile(
      join(directory, `${event}.json`),
      JSON.stringify(eventOf(event, place, place % messageEvery === 0), null, 2),
    );
  }
  const path = `/api/v1/conversation/${id}/events/search?limit=${PAGE}&kind__eq=MessageEvent`;
  const { body } = await server.call<{ items?: unknown[] }>('GET', path);
  if (body.items?.length !== PAGE) {
    throw new Error(`the Python server does not read its events: ${JSON.stringify(body).slice(0, 300)}`);
  }
  return id;
}
