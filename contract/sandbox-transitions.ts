/**
 * Everything that can happen to a sandbox, and what comes of it. The actor works by this table, validators refuse by
 * it, `docs/states.md` is drawn from it, and tests go through all of it.
 */
import { SANDBOX_STATUSES, type SandboxOrder, type SandboxStatus } from './sandbox-states.js';

/** What reaches the mailbox of a sandbox. */
export const SANDBOX_LETTERS = [
  'made',
  'pause',
  'resume',
  'delete',
  'idle',
  'seenRunning',
  'seenPaused',
  'seenGone',
  'seenSilent',
  'seenAnswering',
] as const;
export type SandboxLetter = (typeof SANDBOX_LETTERS)[number];

/** How an action ends. */
export const SANDBOX_RESULTS = [
  'booted',
  'notBooted',
  'suspended',
  'busy',
  'notSuspended',
  'awakened',
  'lost',
  'silent',
  'notAwakened',
  'rowDeleted',
  'interrupted',
  'destroyed',
] as const;
export type SandboxResult = (typeof SANDBOX_RESULTS)[number];

export type SandboxInput = SandboxLetter | SandboxResult;
export const SANDBOX_INPUTS: readonly SandboxInput[] = [...SANDBOX_LETTERS, ...SANDBOX_RESULTS];

/**
 * What is done about it, and how that can end:
 * - `boot` starts the agent-server in the sandbox's directory, or takes over the one that runs there;
 * - `restart` does the same, and first ends one that does not answer;
 * - `suspend` asks the agents to pause, waits a while for it, and freezes all processes;
 * - `suspendIdle` does the same unless an agent works, a start is under way, or something has happened meanwhile;
 * - `awaken` thaws;
 * - `destroy` ends it and removes everything of it, however long that takes.
 */
export const RESULTS_OF = {
  boot: ['booted', 'notBooted', 'rowDeleted', 'interrupted'],
  restart: ['booted', 'notBooted', 'rowDeleted', 'interrupted'],
  suspend: ['suspended', 'lost', 'notSuspended', 'rowDeleted', 'interrupted'],
  suspendIdle: ['suspended', 'busy', 'lost', 'notSuspended', 'rowDeleted', 'interrupted'],
  awaken: ['awakened', 'lost', 'silent', 'notAwakened', 'rowDeleted', 'interrupted'],
  destroy: ['destroyed'],
} as const satisfies Record<string, readonly SandboxResult[]>;
export type SandboxAction = keyof typeof RESULTS_OF;

/** The end: the row is hidden for good, the actor ends. */
export const DELETED = 'DELETED';

/** What comes of an input in a state. */
export interface Transition {
  /** The state from now on, also while the action is under way. */
  to: SandboxStatus | typeof DELETED;
  action: SandboxAction | null;
  /** An order that this state does not allow: as an update it fails, as a signal it changes nothing. */
  refused: boolean;
}

interface Rule {
  in: readonly SandboxStatus[];
  on: SandboxInput;
  /** Left out: the state stays. */
  to?: SandboxStatus | typeof DELETED;
  do?: SandboxAction;
  refuse?: true;
}

const ANY = SANDBOX_STATUSES;

/** Whatever is not named here changes nothing. */
const RULES: readonly Rule[] = [
  // A boot, first or later.
  { in: ['STARTING'], on: 'made', do: 'boot' },
  { in: ['STARTING'], on: 'booted', to: 'RUNNING' },
  { in: ['STARTING'], on: 'notBooted', to: 'ERROR' },

  // Orders. In STARTING the boot answers for a resume, and a pause waits for its end.
  { in: ['RUNNING'], on: 'pause', do: 'suspend' },
  { in: ['ERROR', 'MISSING'], on: 'pause', refuse: true },
  { in: ['PAUSED'], on: 'resume', do: 'awaken' },
  { in: ['MISSING'], on: 'resume', to: 'STARTING', do: 'boot' },
  { in: ['ERROR'], on: 'resume', to: 'STARTING', do: 'restart' },
  { in: ANY, on: 'delete', do: 'destroy' },
  { in: ANY, on: 'destroyed', to: DELETED },
  { in: ANY, on: 'rowDeleted', do: 'destroy' },

  // Going to sleep.
  { in: ['RUNNING'], on: 'idle', do: 'suspendIdle' },
  { in: ['RUNNING'], on: 'suspended', to: 'PAUSED' },
  { in: ['RUNNING'], on: 'lost', to: 'MISSING' },

  // Waking up. Where there is no process, or one that stays silent, there is one to start in the same directory.
  { in: ['PAUSED'], on: 'awakened', to: 'RUNNING' },
  { in: ['PAUSED'], on: 'lost', to: 'STARTING', do: 'boot' },
  { in: ['PAUSED'], on: 'silent', to: 'STARTING', do: 'restart' },
  { in: ['PAUSED'], on: 'notAwakened', to: 'ERROR' },

  // What the watcher of the host has seen. A paused sandbox may lose its process: resuming it starts another one.
  { in: ['RUNNING'], on: 'seenGone', to: 'MISSING' },
  { in: ['RUNNING'], on: 'seenPaused', to: 'PAUSED' },
  { in: ['PAUSED'], on: 'seenRunning', to: 'RUNNING' },
  { in: ['RUNNING'], on: 'seenSilent', to: 'ERROR' },
  { in: ['ERROR'], on: 'seenAnswering', to: 'RUNNING' },
];

const TABLE = new Map(
  RULES.flatMap((rule) =>
    rule.in.map((from): [string, Transition] => [
      `${from} ${rule.on}`,
      { to: rule.to ?? from, action: rule.do ?? null, refused: rule.refuse ?? false },
    ]),
  ),
);

/** What comes of an input in a state. */
export const transition = (from: SandboxStatus, on: SandboxInput): Transition =>
  TABLE.get(`${from} ${on}`) ?? { to: from, action: null, refused: false };

/** Whether an order is obeyed in a state; elsewhere it is refused with `SandboxStatusConflict`. */
export const isObeyed = (order: SandboxOrder, status: SandboxStatus): boolean =>
  !transition(status, order).refused;
