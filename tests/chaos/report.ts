import { cpus, totalmem } from 'node:os';
import { readFileSync } from 'node:fs';
import type { Books } from './books.js';
import type { Injected } from './faults.js';
import type { ChaosOptions } from './options.js';
import { FAULT_KINDS, REAL_PREFIX, type Plan } from './plan.js';
import type { Outcome } from './rest.js';
import { VIOLATION_CLASSES } from './violation.js';

export interface RunReport {
  options: ChaosOptions;
  plan: Plan;
  books: Books;
  injected: readonly Injected[];
  outcome: Outcome;
  /** Of starts and faults, without what came before and after, in milliseconds. */
  tookMs: number;
}

/** The whole run as Markdown. */
export function reportOf({ options, plan, books, injected, outcome, tookMs }: RunReport): string {
  const { snapshot, violations } = outcome;
  const minutes = (ms: number): string => (ms / 60_000).toFixed(1);
  const version = (
    JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  ).version;
  const ends = (status: string): number => snapshot.tasks.filter((task) => task.status === status).length;
  const real = [...books.starts.values()].filter(({ life }) => plan.lives[life]?.real).length;
  const realReady = snapshot.events.length === 0 ? 0 : readyReal(books);
  const rows = (list: readonly (readonly (string | number)[])[]): string =>
    list.map((row) => `| ${row.join(' | ')} |`).join('\n');
  const head = (...titles: string[]): string =>
    `| ${titles.join(' | ')} |\n|${titles.map((_, i) => (i === 0 ? ' --- ' : ' ---: ')).join('|')}|`;
  return [
    `Callboard ${version}, seed ${options.seed}, plan ${plan.fingerprint}; ${cpus().length} × ${cpus()[0]?.model ?? 'processor'}, ${Math.round(totalmem() / 2 ** 30)} GB;`,
    `${options.hosts} host(s), ${minutes(tookMs)} minutes of users and faults, then ${minutes(outcome.tookMs)} minutes until everything was at rest.`,
    '',
    head('', 'number'),
    rows([
      ['starts accepted', books.starts.size],
      ['of these with the real agent-server', `${real} (${realReady} became READY)`],
      ['starts in the end READY', ends('READY')],
      ['starts in the end ERROR, with the reason', ends('ERROR')],
      [
        'starts removed with their deleted conversation',
        books.starts.size - countKnown(books, snapshot.tasks),
      ],
      [
        'events acknowledged to agent-servers',
        snapshot.ledger.reduce(
          (sum, line) => sum + (line.what === 'acknowledged' ? line.events.length : 0),
          0,
        ),
      ],
      ['messages acknowledged to clients', books.messages.length],
      ['faults injected', injected.length],
      ...VIOLATION_CLASSES.map((one) => [
        `**${one}**`,
        `**${violations.filter(({ is }) => is === one).length}**`,
      ]),
    ]),
    '',
    head('operation', 'sent', 'done', 'refused', 'part away (503, 502)', 'no answer'),
    rows(
      [...books.tallies]
        .sort()
        .map(([kind, tally]) => [
          kind,
          tally.sent,
          tally.done,
          tally.refused,
          tally.unavailable,
          tally.unanswered,
        ]),
    ),
    '',
    head('fault', 'times', 'seconds frozen'),
    rows(
      FAULT_KINDS.map((kind) => {
        const hit = injected.filter((one) => one.kind === kind);
        const seconds = hit.reduce((sum, { from, until }) => sum + until - from, 0) / 1000;
        return [kind, hit.length, kind.endsWith('frozen') ? seconds.toFixed(0) : ''];
      }),
    ),
    '',
    reasons(snapshot.tasks),
    violations.length === 0
      ? 'Nothing lost, doubled, orphaned, stuck or answered wrongly.'
      : violations.map(({ is, what }) => `- ${is}: ${what}`).join('\n'),
    '',
  ].join('\n');
}

const readyReal = (books: Books): number =>
  [...books.conversations.values()].filter((id) => id.replaceAll('-', '').startsWith(REAL_PREFIX)).length;

const countKnown = (books: Books, tasks: readonly { id: string }[]): number =>
  tasks.filter(({ id }) => books.starts.has(id)).length;

/** What failed starts say, most frequent first, ids and numbers left out. */
function reasons(tasks: readonly { status: string; detail: string | null }[]): string {
  const counts = new Map<string, number>();
  for (const { status, detail } of tasks) {
    if (status !== 'ERROR') continue;
    const text =
      (detail ?? '')
        .split('\n')[0]
        ?.replace(/[0-9a-f]{8,}|\d+/g, '…')
        .slice(0, 160) ?? '';
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  if (counts.size === 0) return '';
  const lines = [...counts].sort((a, b) => b[1] - a[1]).map(([text, count]) => `- ${count} × ${text}`);
  return `Reasons of failed starts:\n\n${lines.join('\n')}\n`;
}
