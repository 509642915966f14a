import { times } from './beside.js';
import type { Result } from './measure.js';

/** What the reference work took in the best hours of the machine on which the bars were looked at, in milliseconds. */
const QUIET_WORK_MS = 34;

/** A result with the load average of the last minute when it had been measured. */
export interface MeasuredResult extends Result {
  load: number;
  /** Share of the processor time that a hypervisor gave to others meanwhile, from 0 to 1. */
  stolen: number;
  /** Milliseconds of the reference work (`machine-speed.ts`), before and after. */
  work: number;
}

export interface ReportOptions {
  runs: number;
  machine: string;
  /** Whether the Python server was measured as well. */
  python: boolean;
}

/** The table, in Markdown. */
export function reportOf(
  results: readonly MeasuredResult[],
  { runs, machine, python: measured }: ReportOptions,
): string {
  const rows = results.map((result) => [
    result.measure,
    ...(measured ? measuredPython(result) : [result.python || '–']),
    result.bar || '–',
    result.value,
    result.met === null ? '–' : result.met ? 'yes' : '**no**',
    result.detail,
    surroundings(result),
  ]);
  const theirs = measured ? ['Python 1.11 (this run)', 'ratio'] : ['Python 1.11 (recorded)'];
  const head = ['measure', ...theirs, 'bar', 'measured', 'met', 'range and parts', 'load'];
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  const about = measured
    ? ' The Python server was measured in turns; a ratio says how many times better Callboard is, as the median of the pairs.'
    : '';
  return `Medians of ${runs} runs; ${machine}. Load is the average of the last minute, the measuring itself included; stolen is processor time that this virtual machine was not given; work is what one thread took for the same piece of work before and after (${QUIET_WORK_MS} ms at best on the machine of docs/performance.md).${about}\n\n${lines.join('\n')}\n`;
}

function surroundings({ load, stolen, work }: MeasuredResult): string {
  const share = stolen < 0.01 ? [] : [`${(stolen * 100).toFixed(0)} % stolen`];
  return [load.toFixed(1), ...share, `work ${work.toFixed(0)} ms`].join('; ');
}

function measuredPython({ beside, python }: Result): [value: string, ratio: string] {
  if (beside) return [beside.value, times(beside.ratio)];
  return [python === '' ? '–' : `${python} (recorded)`, '–'];
}
