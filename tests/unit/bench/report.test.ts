import { describe, expect, it } from 'vitest';
import { referenceWork } from '../../../bench/machine-speed.js';
import { machineTime, stolenSince } from '../../../bench/processes.js';
import { reportOf, type MeasuredResult } from '../../../bench/report.js';

const about = { runs: 5, machine: '2 cores' };
const result = (given: Partial<MeasuredResult>): MeasuredResult => ({
  measure: 'a start',
  value: '0.5 s',
  detail: '0.4 s – 0.6 s',
  bar: '≤ 0.4 s',
  met: false,
  python: '1.56 s',
  load: 1.25,
  stolen: 0.004,
  work: 36.2,
  ...given,
});
const cellsOf = (line = ''): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
function table(results: readonly MeasuredResult[], python: boolean) {
  const [head, , ...rows] = reportOf(results, { ...about, python })
    .split('\n')
    .filter((line) => line.startsWith('|'));
  const names = cellsOf(head);
  return rows.map((row): Record<string, string> =>
    Object.fromEntries(cellsOf(row).map((cell, at) => [names[at] ?? '', cell] as const)),
  );
}

describe('The table of the bench', () => {
  it('says that the figures of the Python server are recorded ones where it was not measured', () => {
    expect(table([result({})], false)).toEqual([
      {
        measure: 'a start',
        'Python 1.11 (recorded)': '1.56 s',
        bar: '≤ 0.4 s',
        measured: '0.5 s',
        met: '**no**',
        'range and parts': '0.4 s – 0.6 s',
        load: '1.3; work 36 ms',
      },
    ]);
  });

  it('says how much of its time a virtual machine was not given', () => {
    expect(table([result({ stolen: 0.204 })], false)).toMatchObject([
      { load: '1.3; 20 % stolen; work 36 ms' },
    ]);
    expect(stolenSince({ all: 1_000, stolen: 10 }, { all: 1_400, stolen: 110 })).toBe(0.25);
    const before = machineTime();
    expect(before.all).toBeGreaterThan(before.stolen);
    expect(stolenSince(before, before)).toBe(0);
    expect(referenceWork()).toBeGreaterThan(0);
  });

  it('shows what the Python server took in the same run, and the ratio', () => {
    const [row] = table([result({ beside: { value: '1.84 s', ratio: 3.68 } })], true);
    expect(row).toMatchObject({ 'Python 1.11 (this run)': '1.84 s', ratio: '3.7 ×', measured: '0.5 s' });
  });

  it('marks a recorded figure among measured ones, and shows none where there is none', () => {
    expect(table([result({}), result({ python: '' })], true)).toMatchObject([
      { 'Python 1.11 (this run)': '1.56 s (recorded)', ratio: '–' },
      { 'Python 1.11 (this run)': '–', ratio: '–' },
    ]);
  });
});
