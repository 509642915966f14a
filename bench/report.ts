import type { Result } from './measure.js';

/** A result with the load average of the last minute when it had been measured. */
export interface MeasuredResult extends Result {
  load: number;
}

/** The table, in Markdown. */
export function reportOf(
  results: readonly MeasuredResult[],
  { runs, machine }: { runs: number; machine: string },
): string {
  const rows = results.map(({ measure, python, bar, value, detail, met, load }) => [
    measure,
    python || '–',
    bar || '–',
    value,
    met === null ? '–' : met ? 'yes' : '**no**',
    detail,
    load.toFixed(1),
  ]);
  const head = ['measure', 'Python 1.11', 'bar', 'measured', 'met', 'range and parts', 'load'];
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `Medians of ${runs} runs; ${machine}. Load is the average of the last minute, the measuring itself included.\n\n${lines.join('\n')}\n`;
}
