import { parseArgs } from 'node:util';

/** What a run is to be like. */
export interface ChaosOptions {
  seed: number;
  starts: number;
  faults: number;
  /** How many of the starts get the real agent-server. */
  real: number;
  /** All starts get the real one, as Callboard installs it: copies of one process, of which some are kept warm. */
  forked: boolean;
  /** Over how many minutes starts and faults are spread; more on a machine that cannot follow. */
  minutes: number;
  /** Machines the workers stand for: 1, both own the same sandboxes; 2, each its own. */
  hosts: 1 | 2;
  /** How long all that is left may take to come to rest, in minutes. */
  patience: number;
  /** Whether outages of a minute are among the faults. */
  longOutages: boolean;
  /** Keeps the data directory, with all logs, instead of removing it after a clean run. */
  keep: boolean;
}

/** Somewhat more than 500 starts, 200 faults and 20 real agent-servers: some requests are refused, some faults hit nothing. */
export const DEFAULTS: ChaosOptions = {
  seed: 1,
  starts: 560,
  faults: 215,
  real: 24,
  forked: false,
  minutes: 20,
  hosts: 2,
  patience: 6,
  longOutages: true,
  keep: false,
};

export const USAGE = `npm run chaos -- [--seed N] [--starts N] [--faults N] [--real N | --forked] [--minutes N] [--hosts 1|2] [--patience N] [--keep]`;

/** @throws for flags that are no options, and numbers that are none */
export function readOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      starts: { type: 'string' },
      faults: { type: 'string' },
      real: { type: 'string' },
      forked: { type: 'boolean', default: false },
      minutes: { type: 'string' },
      hosts: { type: 'string' },
      patience: { type: 'string' },
      keep: { type: 'boolean' },
    },
  });
  const number = (name: 'seed' | 'starts' | 'faults' | 'real' | 'minutes' | 'patience'): number => {
    const given = values[name];
    if (given === undefined) return DEFAULTS[name];
    const value = Number(given);
    if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} wants a number\n${USAGE}`);
    return value;
  };
  const minutes = number('minutes');
  return {
    seed: number('seed'),
    starts: number('starts'),
    faults: number('faults'),
    real: values.forked ? number('starts') : number('real'),
    forked: values.forked,
    minutes,
    hosts: values.hosts === '1' ? 1 : 2,
    patience: number('patience'),
    longOutages: minutes >= 10,
    keep: values.keep ?? false,
  };
}
