import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  log,
  TimeoutFailure,
} from '@temporalio/workflow';

/** What went wrong, in the words of the activity that saw it. */
export interface Explanation {
  /** A sentence for people; secrets were masked where it was made. */
  message: string;
  /** PascalCase noun of the condition. */
  type: string;
}

/** What an activity was about, and what to do when it took too long; by activity type. */
export type TimeLimits = Readonly<Record<string, { doing: string; advice: string } | undefined>>;

/** Of a sandbox: its log is where one has to look. */
const LOOK_INTO_SANDBOX = 'look at the log of its sandbox, and try the start again';

/** Activities of starts and sandboxes. Those that a setting limits name it. */
const LIMITS: TimeLimits = {
  startInOneStep: { doing: 'The start', advice: LOOK_INTO_SANDBOX },
  awaitSandbox: {
    doing: 'Waiting for the sandbox',
    advice: 'look at the log of the sandbox; SANDBOX_STARTUP_TIMEOUT_SECONDS limits a boot without progress',
  },
  boot: {
    doing: 'Starting the sandbox',
    advice: 'look at the log of the sandbox; SANDBOX_STARTUP_TIMEOUT_SECONDS limits a boot without progress',
  },
  bootWarmSandbox: {
    doing: 'Starting a warm sandbox',
    advice: 'look at the log of the sandbox; SANDBOX_STARTUP_TIMEOUT_SECONDS limits a boot without progress',
  },
  prepareRepository: { doing: 'Preparing the repository', advice: 'raise CLONE_TIMEOUT_SECONDS' },
  runSetupScript: { doing: 'Running .openhands/setup.sh', advice: 'raise SETUP_SCRIPT_TIMEOUT_SECONDS' },
  installGitHooks: { doing: 'Setting up the git hooks', advice: LOOK_INTO_SANDBOX },
  prepareSkills: { doing: 'Loading the skills', advice: LOOK_INTO_SANDBOX },
  createConversation: { doing: 'Starting the conversation', advice: LOOK_INTO_SANDBOX },
};

/** Why, and what to do, by the limit that was exceeded. */
function timeoutSentence(
  activity: string,
  { timeoutType, cause, lastHeartbeatDetails }: TimeoutFailure,
): string {
  const { doing, advice } = LIMITS[activity] ?? { doing: activity, advice: 'try it again' };
  if (timeoutType === 'SCHEDULE_TO_START') {
    return `${doing} was not begun: no worker took it up. Check that \`callboard worker\` runs on a machine with sandboxes, and has a slot free.`;
  }
  const phase = phaseOf(lastHeartbeatDetails);
  const at = phase === null ? '' : ` while ${phase}`;
  if (timeoutType === 'HEARTBEAT') {
    return `${doing} was given up: its worker stopped reporting${at}. Check that \`callboard worker\` runs and is not overloaded, and try the start again.`;
  }
  const last = cause instanceof Error && cause.message !== '' ? ` Last seen: ${cause.message}` : '';
  return `${doing} took longer than its time limit${at}: ${advice}.${last}`;
}

/** What an activity said last of what it was doing. */
const phaseOf = (details: unknown): string | null =>
  typeof details === 'object' && details !== null && 'phase' in details && typeof details.phase === 'string'
    ? details.phase
    : null;

/** Unwraps a failure of an activity down to the sentence worth showing. */
export function explain(err: unknown): Explanation {
  if (isCancellation(err)) return { message: 'cancelled', type: 'Cancelled' };
  if (err instanceof ActivityFailure) {
    const { cause } = err;
    if (cause instanceof TimeoutFailure) {
      return { message: timeoutSentence(err.activityType, cause), type: 'ActivityTimeout' };
    }
    if (cause) return explain(cause);
  }
  if (err instanceof ApplicationFailure) return { message: err.message, type: err.type ?? 'Failure' };
  return { message: err instanceof Error ? err.message : String(err), type: 'Failure' };
}

/** Says in the log that an activity ran into a time limit: it cannot say so itself. */
export function logTimeout(err: unknown): void {
  if (!(err instanceof ActivityFailure) || !(err.cause instanceof TimeoutFailure)) return;
  log.warn('an activity ran into its time limit', {
    activity: err.activityType,
    limit: err.cause.timeoutType,
    attemptsOver: err.retryState,
  });
}
