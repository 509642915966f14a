/** What the Python server took when it was measured in turns with ours. */
import { median } from './statistics.js';

export interface Beside {
  /** Its medians, for people. */
  value: string;
  /** How many times better ours are. */
  ratio: number;
}

export interface Pairs {
  /** A value of each run, in the order of the runs. */
  ours: readonly number[];
  theirs: readonly number[];
  /** Which values are the better ones. */
  better: 'less' | 'more';
}

/**
 * The median of the ratios of the pairs, above 1 where ours is the better one. What disturbs the machine in one run
 * disturbs both of it.
 * @throws {Error} when the two were not measured equally often
 */
export function timesBetter({ ours, theirs, better }: Pairs): number {
  if (ours.length !== theirs.length) throw new Error('the two were not measured in turns');
  const pairs = ours.map((value, run) => [value, theirs[run] ?? Number.NaN] as const);
  return median(pairs.map(([own, other]) => (better === 'less' ? other / own : own / other)));
}

/** `4.2 ×`, `120 ×` */
export const times = (ratio: number): string => `${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} ×`;
