/** What a measure is, and what it says. */
import type { Product } from '../tests/support/product.js';
import type { Beside } from './beside.js';
import type { PythonSide } from './python-server/side.js';

/** One line of the table. */
export interface Result {
  /** What was measured. */
  measure: string;
  /** The medians, for people. */
  value: string;
  /** Smallest and largest of the runs, or what the value consists of. */
  detail: string;
  /** What it should be; empty where nothing was promised. */
  bar: string;
  /** Whether it is; null where nothing was promised. */
  met: boolean | null;
  /** What the Python server 1.11 took on two such cores, recorded once; empty where it has no such thing. */
  python: string;
  /** What it took in this run; only with `--python`, and where it was measured. */
  beside?: Beside | undefined;
}

export interface Surroundings {
  /** How often each thing is measured; medians are taken over these. */
  runs: number;
  /** A line about what goes on, for whoever waits. */
  note: (line: string) => void;
  /** API and worker on light sandboxes, made when they are first asked for and shared by all measures. */
  light: () => Promise<Product>;
  /** The Python server; null without `--python`. */
  python: PythonSide | null;
}

export interface Measure {
  /** By which `--only` chooses it. */
  name: string;
  title: string;
  run: (surroundings: Surroundings) => Promise<Result[]>;
}

/** `12.3 ms`, `1.25 s` */
export const duration = (ms: number): string =>
  Math.abs(ms) >= 1_000
    ? `${(ms / 1_000).toFixed(2)} s`
    : `${Math.abs(ms) < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

/** Smallest to largest. */
export const range = (values: readonly number[], text: (value: number) => string): string =>
  `${text(Math.min(...values))} – ${text(Math.max(...values))}`;

/** `1,234` */
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
