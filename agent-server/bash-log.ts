/** The agent-server's record of commands and their output. */
import { BashCommandEvent, BashOutputEvent, bashEventPage, ServerInfo } from './schemas.js';
import type { Transport } from './transport.js';

export const START_PATH = '/api/bash/start_bash_command';
const CommandPage = bashEventPage(BashCommandEvent);
const OutputPage = bashEventPage(BashOutputEvent);

/** An answer that took no longer tells the time of a server well enough, in milliseconds. */
const PROMPT_MS = 500;
/** How often a server is asked that always takes longer. */
const MOST_ATTEMPTS = 3;

/** A command of an earlier attempt: its result is there or will be, or it died with the server. */
export interface EarlierCommand {
  state: 'known' | 'lost';
  command: BashCommandEvent;
}

export function commandLog(transport: Pick<Transport, 'json'>) {
  /** Output after the piece number `order`, in order. */
  async function outputAfter(
    commandId: string,
    order: number,
    signal?: AbortSignal,
  ): Promise<BashOutputEvent[]> {
    const found: BashOutputEvent[] = [];
    let pageId: string | null = null;
    do {
      const query: [string, string][] = [
        ['command_id__eq', commandId],
        ['kind__eq', 'BashOutput'],
        ['sort_order', 'TIMESTAMP'],
        ['limit', '100'],
      ];
      if (order >= 0) query.push(['order__gt', String(order)]);
      if (pageId !== null) query.push(['page_id', pageId]);
      const page: { items: BashOutputEvent[]; next_page_id?: string | null } = await transport.json(
        { method: 'GET', path: '/api/bash/bash_events/search', query, idempotent: true, signal },
        OutputPage,
      );
      found.push(...page.items);
      pageId = page.next_page_id ?? null;
    } while (pageId !== null);
    return found.sort((a, b) => a.order - b.order);
  }

  /** The latest command whose text begins with `prefix`. */
  async function latest(prefix: string, signal?: AbortSignal): Promise<BashCommandEvent | null> {
    let pageId: string | null = null;
    do {
      const query: [string, string][] = [
        ['kind__eq', 'BashCommand'],
        ['sort_order', 'TIMESTAMP_DESC'],
        ['limit', '100'],
      ];
      if (pageId !== null) query.push(['page_id', pageId]);
      const page: { items: BashCommandEvent[]; next_page_id?: string | null } = await transport.json(
        { method: 'GET', path: '/api/bash/bash_events/search', query, idempotent: true, signal },
        CommandPage,
      );
      const match = page.items.find(({ command }) => command.startsWith(prefix));
      if (match) return match;
      pageId = page.next_page_id ?? null;
    } while (pageId !== null);
    return null;
  }

  /**
   * When the server was started, by our clock, in milliseconds; too early by no more than the last answer took. The first
   * answer of a server takes seconds, in which it imports its tools: taken for the server's age, they would make it younger
   * than its commands.
   */
  async function serverStarted(signal?: AbortSignal): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const asked = Date.now();
      const { uptime } = await transport.json(
        { method: 'GET', path: '/server_info', idempotent: true, signal },
        ServerInfo,
      );
      if (Date.now() - asked <= PROMPT_MS || attempt === MOST_ATTEMPTS) return asked - uptime * 1000;
    }
  }

  return {
    outputAfter,

    /** Starts a command; `timeout` in whole seconds. */
    start: (
      command: { command: string; cwd?: string; timeout: number },
      signal?: AbortSignal,
    ): Promise<BashCommandEvent> =>
      transport.json(
        { method: 'POST', path: START_PATH, body: command, idempotent: false, signal },
        BashCommandEvent,
      ),

    /** What became of the latest command whose text begins with `prefix`; null if there was none. */
    async find(prefix: string, signal?: AbortSignal): Promise<EarlierCommand | null> {
      const command = await latest(prefix, signal);
      if (!command) return null;
      const output = await outputAfter(command.id, -1, signal);
      if (output.at(-1)?.exit_code != null) return { state: 'known', command };
      // Uptime counts from the import of the program, seconds before it takes its first command, so that
      // whole seconds and slightly different clocks do no harm.
      const lost = Date.parse(command.timestamp) < (await serverStarted(signal));
      return { state: lost ? 'lost' : 'known', command };
    },
  };
}
