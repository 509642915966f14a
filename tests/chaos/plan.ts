/** What users do and what breaks, all of it decided by the seed before anything begins. */
import { createHash } from 'node:crypto';
import type { ChaosOptions } from './options.js';
import { Random } from './random.js';

export const FAULT_KINDS = [
  'api killed',
  'api frozen',
  'worker killed',
  'worker frozen',
  'temporal killed',
  'temporal frozen',
  'postgres killed',
  'postgres frozen',
  'postgres backend killed',
  'postgres connections cut',
  'agent-server killed',
  'agent-server frozen',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface PlannedFault {
  kind: FaultKind;
  /** Milliseconds from the beginning. */
  at: number;
  /** Which of those there are by then: the remainder of its division by their number. */
  target: number;
  /** How long it stays frozen, in milliseconds. */
  durationMs: number;
}

/** What a user does with a conversation, each after a pause in milliseconds. */
export interface Act {
  kind: 'message' | 'queue message' | 'pause' | 'resume' | 'read events' | 'list' | 'cancel';
  afterMs: number;
}

/** One start, and what its user does afterwards. */
export interface PlannedLife {
  index: number;
  /** Milliseconds from the beginning. */
  at: number;
  via: 'post' | 'stream' | 'own sandbox';
  /** What makes a repeated request the same start. */
  identity: 'none' | 'idempotency key' | 'conversation id';
  /** The key or the id. */
  key: string;
  /** How many equal requests are sent at once. */
  copies: number;
  repository: boolean;
  logging: boolean;
  real: boolean;
  /** While it starts. */
  during: Act[];
  /** Once it is ready. */
  after: Act[];
  end: 'keep' | 'delete sandbox' | 'delete conversation';
}

export interface Plan {
  lives: PlannedLife[];
  faults: PlannedFault[];
  /** Tells two plans apart at a glance. */
  fingerprint: string;
}

/** The sandboxes of real starts have ids that begin so: they get the id of their conversation. */
export const REAL_PREFIX = 'facade';

const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  'api killed': 16,
  'api frozen': 8,
  'worker killed': 16,
  'worker frozen': 8,
  'temporal killed': 8,
  'temporal frozen': 6,
  'postgres killed': 6,
  'postgres frozen': 6,
  'postgres backend killed': 4,
  'postgres connections cut': 6,
  'agent-server killed': 20,
  'agent-server frozen': 12,
};
/** Of outages that last a minute: how many there are of each kind in a long run. */
const LONG_OUTAGES: readonly FaultKind[] = ['temporal frozen', 'postgres frozen', 'worker frozen'];
const LONG_OUTAGE_MS = 60_000;

/** Always the same for the same options. */
export function makePlan(options: ChaosOptions): Plan {
  const lives = planLives(options, new Random(options.seed));
  const faults = planFaults(options, new Random(options.seed ^ 0x5eed));
  const fingerprint = createHash('sha256')
    .update(JSON.stringify({ lives, faults }))
    .digest('hex')
    .slice(0, 12);
  return { lives, faults, fingerprint };
}

function planFaults({ faults, minutes, longOutages }: ChaosOptions, random: Random): PlannedFault[] {
  const span = minutes * 60_000;
  const planned = Array.from({ length: faults }, (_, index): PlannedFault => {
    const kind = random.weighted(WEIGHTS);
    return {
      kind,
      // Spread evenly, and hit anywhere in their share of the time.
      at: Math.round(((index + random.next()) / faults) * span),
      target: random.between(0, 999),
      durationMs: kind.endsWith('frozen') ? random.between(1_000, 9_000) : 0,
    };
  });
  if (!longOutages) return planned;
  LONG_OUTAGES.forEach((kind, index) => {
    const share = Math.floor((planned.length * (index + 1)) / (LONG_OUTAGES.length + 1));
    const fault = planned[share];
    if (fault) Object.assign(fault, { kind, durationMs: LONG_OUTAGE_MS });
  });
  return planned;
}

function planLives({ starts, real, minutes }: ChaosOptions, random: Random): PlannedLife[] {
  const span = minutes * 60_000;
  const isReal = (index: number): boolean =>
    real > 0 && Math.floor(((index + 1) * real) / starts) > Math.floor((index * real) / starts);
  return Array.from({ length: starts }, (_, index): PlannedLife => {
    const inShare = random.next();
    const life = isReal(index) ? realLife(random) : lightLife(random);
    return { ...life, index, at: Math.round(((index + inShare) / starts) * span) };
  });
}

function lightLife(random: Random): Omit<PlannedLife, 'index' | 'at'> {
  const identity = random.weighted({ none: 3, 'idempotency key': 4, 'conversation id': 4 });
  return {
    via: random.weighted({ post: 6, stream: 3, 'own sandbox': 1 }),
    identity,
    key: identity === 'conversation id' ? `1${random.hex(31)}` : random.hex(32),
    copies: identity === 'none' ? 1 : random.between(1, 3),
    repository: random.chance(0.2),
    logging: random.chance(0.5),
    real: false,
    during: acts(random, random.between(0, 2), { list: 3, 'queue message': 4, cancel: 1 }, 400),
    after: acts(
      random,
      random.between(1, 6),
      { message: 6, 'queue message': 2, pause: 2, resume: 2, 'read events': 2, list: 1 },
      1_500,
    ),
    end: random.weighted({ keep: 2, 'delete sandbox': 4, 'delete conversation': 4 }),
  };
}

/** Few and slow: each costs five seconds of a processor. */
function realLife(random: Random): Omit<PlannedLife, 'index' | 'at'> {
  return {
    via: random.weighted({ post: 1, stream: 1 }),
    identity: 'conversation id',
    key: `${REAL_PREFIX}${random.hex(26)}`,
    copies: random.between(1, 2),
    repository: random.chance(0.5),
    logging: true,
    real: true,
    during: [],
    after: acts(random, random.between(1, 3), { message: 3, pause: 1, resume: 1, 'read events': 1 }, 3_000),
    end: random.weighted({ keep: 1, 'delete sandbox': 4, 'delete conversation': 4 }),
  };
}

function acts(
  random: Random,
  count: number,
  weights: Partial<Readonly<Record<Act['kind'], number>>>,
  longestPauseMs: number,
): Act[] {
  return Array.from({ length: count }, () => ({
    kind: random.weighted(weights as Readonly<Record<Act['kind'], number>>),
    afterMs: random.between(0, longestPauseMs),
  }));
}
