/** What the pool of warm sandboxes says of itself: its workflow, its activities and the command line share it. */

/** How the pool stood at its last look. */
export interface PoolReport {
  /** When that was, as an ISO time. */
  at: string;
  /** How many are to be kept right now. */
  target: number;
  /** How many are ready. */
  ready: number;
  /** How many boot. */
  booting: number;
  /** Why it makes none although some are missing, for people. */
  waitsFor?: string;
}

/** What is to be done after a look. */
export interface PoolPlan {
  /** How many sandboxes to boot now. */
  make: number;
  /** On which machine each of them; whichever takes it, if left out. */
  hosts?: string[];
  /** Those that have to go. */
  retire: string[];
  /** Time until the next look, in milliseconds; a nudge is heard before. */
  lookAgainMs: number;
  /** Nothing is kept, and nothing is to be kept. */
  isOver: boolean;
  report: PoolReport;
}

/** What the workflow tells with a look. */
export interface PoolLook {
  /** An operator has emptied it. */
  drained: boolean;
  /** Everything that was made before this time is to be replaced, as an ISO time. */
  recycleBefore?: string;
  /** Sandboxes that it is booting. */
  booting: number;
  /** The machines on which they boot, one for each. */
  bootingOn?: string[];
  /** For how long it has not made any although some were missing, in milliseconds. */
  waitedMs: number;
}
