import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  log,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { SANDBOX_ORDERS, type SandboxOrder, type SandboxStatus } from '../../contract/sandbox-states.js';
import {
  DELETED,
  isObeyed,
  transition,
  type SandboxInput,
  type SandboxLetter,
} from '../../contract/sandbox-transitions.js';
import { explain, type Explanation } from '../failures.js';
import {
  ensureRunningUpdate,
  observedSignal,
  sandboxAcceptedUpdate,
  sandboxSignal,
  sandboxStateQuery,
  sandboxUpdate,
  type PauseRequest,
  type SandboxObservation,
  type SandboxState,
} from '../messages.js';
import { CALLBOARD_SANDBOX_STATUS } from '../search-attributes.js';
import { Actions, type ActionEnd } from './actions.js';
import { catchUpSandbox, recordSandboxDeleted, recordSandboxStatus } from './calls.js';
import { noAnswer, processEnded } from './causes.js';
import { IdleWatch } from './idle-watch.js';
import { Mailbox, type Letter } from './mailbox.js';
import { nextRevision } from './revision.js';

/** How things stood right after a letter had been dealt with. */
interface Outcome extends Pick<SandboxState, 'status' | 'detail' | 'failureType'> {
  /** The state did not allow the order. */
  refused?: boolean;
  /** Why the order could not be carried out, where the state is what it was. */
  failure?: Explanation;
  deleted?: boolean;
}

/** How long after a failure the next idle pause is tried, in milliseconds. */
const AFTER_FAILURE_MS = 600_000;

const SEEN = {
  running: 'seenRunning',
  paused: 'seenPaused',
  gone: 'seenGone',
  silent: 'seenSilent',
  answering: 'seenAnswering',
} as const satisfies Record<SandboxObservation['state'], SandboxLetter>;

/**
 * A sandbox's whole life. Handlers only put letters into the mailbox; one loop deals with them, one after another, by
 * the table of transitions, and the row in SQL mirrors every change of status.
 */
export async function life(initial: SandboxState): Promise<void> {
  const { mailbox: left = [], ...rest } = initial;
  const state: SandboxState = rest;
  const mailbox = new Mailbox<Outcome>();
  const actions = new Actions(state);
  const idleWatch = new IdleWatch(state.sandboxId, () => void post({ kind: 'idle' }));
  /** The boot or resume that waits or is under way: who needs the sandbox running waits for this one. */
  let starting: { letter: Letter; outcome: Promise<Outcome> } | undefined;
  let deletion: Promise<Outcome> | undefined;
  let isDealing = false;
  let deleted = false;

  function post(letter: Letter, inPassing = false): Promise<Outcome> {
    if (deletion) return letter.kind === 'delete' ? deletion : Promise.resolve(GONE);
    const starts = isStart(letter);
    // A boot under way answers for itself: it is not tried a second time behind the caller's back.
    if (starts && starting) return starting.outcome;
    const outcome = inPassing ? mailbox.putInPassing(letter) : mailbox.put(letter);
    if (starts) starting = { letter, outcome };
    // Who needs it running from here on has it resumed after the pause.
    if (letter.kind === 'pause') starting = undefined;
    if (letter.kind === 'delete') {
      deletion = outcome;
      actions.interrupt();
    }
    return outcome;
  }

  /**
   * A letter that nobody waits for. What says nothing new is passed over, and what is said again replaces what was said
   * before: thousands that arrive together would otherwise be thousands of turns of the loop within one task, for which
   * its time is too short.
   */
  function tell(letter: Letter): void {
    const { to, action } = transition(state.status, letter.kind);
    const saysMore = letter.kind === 'seenRunning' || letter.observation?.row !== undefined;
    const changesNothing = to === state.status && !action && !saysMore;
    if (changesNothing && !isDealing && mailbox.size === 0) return;
    void post(letter, true);
  }

  // Put in before any handler is set: an update that came with the first task finds a boot to wait for.
  if (state.status === 'STARTING') void post({ kind: 'made' });
  for (const letter of left) void post(letter);

  setHandler(sandboxStateQuery, () => state);
  setHandler(observedSignal, (observation) => {
    const isOther =
      observation.thing !== undefined && state.thing !== undefined && observation.thing !== state.thing;
    if (!isOther && observation.state in SEEN) tell({ kind: SEEN[observation.state], observation });
  });
  setHandler(sandboxAcceptedUpdate, () => Promise.resolve(state.status));
  for (const order of SANDBOX_ORDERS) {
    setHandler(sandboxSignal(order), (request?: PauseRequest) => tell(letterOf(order, request)));
    setHandler(
      sandboxUpdate(order),
      async (request?: PauseRequest) => answerTo(order, await post(letterOf(order, request))),
      {
        validator: () => {
          if (!isObeyed(order, state.status)) throw conflict(order, state.status);
        },
      },
    );
  }
  setHandler(ensureRunningUpdate, async () => {
    for (;;) {
      const outcome = await post({ kind: 'resume' });
      if (outcome.status !== 'RUNNING') throw notRunning(outcome);
      if (!mailbox.has('pause')) return outcome.status;
    }
  });

  /** Has the row say where the sandbox stands. */
  const mirror = (): Promise<void> =>
    recordSandboxStatus(state.sandboxId, state.status, state.detail ?? null, nextRevision(state));

  const become = async (status: SandboxStatus, on: SandboxInput, why?: Explanation): Promise<void> => {
    state.status = status;
    delete state.detail;
    delete state.failureType;
    if (why) [state.detail, state.failureType] = [why.message, why.type];
    // A boot has written the row itself, together with what it found out.
    if (on !== 'booted') await mirror();
    upsertSearchAttributes([{ key: CALLBOARD_SANDBOX_STATUS, value: status }]);
  };

  const deal = async (letter: Letter): Promise<Outcome> => {
    let next: Omit<ActionEnd, 'on'> & { on: SandboxInput } = { on: letter.kind, ...causeOf(letter) };
    for (;;) {
      const wasPlaced = state.hostId !== undefined;
      const { to, action, refused } = transition(state.status, next.on);
      if (refused) return { ...standing(), refused };
      if (to === DELETED) {
        await recordSandboxDeleted(state.sandboxId);
        state.status = 'MISSING';
        deleted = true;
        return GONE;
      }
      if (to !== state.status) await become(to, next.on, next.why);
      // Looked up by a step of its own, it would keep waiting whoever needs the sandbox.
      if (next.on === 'booted' && next.idleness) idleWatch.begin(next.idleness);
      if (next.on === 'awakened') catchUp();
      if (next.on === 'interrupted') return goneMeanwhile(letter);
      if (next.on === 'notSuspended') return { ...standing(), failure: next.why };
      if (!action) return standing();
      next = await actions.perform(action, letter);
      if (next.on === 'booted' && wasPlaced) catchUp();
    }
  };

  const standing = (): Outcome => {
    const { status, detail, failureType } = state;
    return { status, detail, failureType };
  };

  /** Fetches, beside everything else, what was lost while nobody could listen, and sets right what is shown of agents. */
  const catchUp = (): void => {
    state.catchingUp = true;
    catchUpSandbox(state.sandboxId)
      .catch((err: unknown) => {
        if (!isCancellation(err)) {
          log.warn('events of a sandbox could not be fetched', { reason: explain(err).message });
        }
      })
      .finally(() => delete state.catchingUp);
  };

  /** Letters that nobody waits for can be dealt with by the next run. */
  const mayContinue = () => workflowInfo().continueAsNewSuggested && allHandlersFinished();

  // `temporal workflow cancel` means: end it, orderly.
  CancellationScope.current().cancelRequested.catch(() => void post({ kind: 'delete' }));
  await CancellationScope.nonCancellable(async () => {
    if (state.catchingUp) catchUp();
    while (!deleted) {
      if (state.status === 'RUNNING') idleWatch.begin();
      else idleWatch.end();
      await condition(() => mailbox.size > 0 || mayContinue());
      if (mayContinue()) {
        const letters = mailbox.letters().filter(({ kind }) => kind !== 'made');
        await continueAsNew<typeof life>({ ...state, ...(letters.length === 0 ? {} : { mailbox: letters }) });
      }
      const next = mailbox.take();
      if (!next) continue;
      const { letter, settle } = next;
      if (letter.kind === 'delete') mailbox.settleAll(GONE);
      isDealing = true;
      const { status: before } = state;
      const outcome = await deal(letter);
      const row = letter.observation?.row;
      // What was seen has changed nothing here, and yet the row says something else: it is the row that is wrong.
      if (row !== undefined && row !== before && state.status === before) await mirror();
      isDealing = false;
      if (letter.kind === 'idle') idleWatch.end();
      if (letter.kind === 'seenRunning' && state.status === 'RUNNING') {
        // Somebody looks after it again: there may be events that nobody has heard, and other settings.
        idleWatch.reconsider();
        if (!state.catchingUp) catchUp();
      }
      if (outcome.failure) idleWatch.begin({ state: 'wait', waitMs: AFTER_FAILURE_MS });
      if (starting?.letter === letter) starting = undefined;
      settle(deletion && isStart(letter) ? goneMeanwhile(letter) : outcome);
    }
    mailbox.settleAll(GONE);
    await condition(allHandlersFinished);
  });
}

const GONE: Outcome = {
  status: 'MISSING',
  detail: 'the sandbox was deleted',
  failureType: 'SandboxDeleted',
  deleted: true,
};

const isStart = ({ kind }: Letter): boolean => kind === 'made' || kind === 'resume';

const goneMeanwhile = (letter: Letter): Outcome =>
  isStart(letter) ? { ...GONE, detail: 'the sandbox was deleted while it started' } : GONE;

function letterOf(order: SandboxOrder, request?: PauseRequest): Letter {
  if (order !== 'pause') return { kind: order };
  const reason = request?.reason === undefined ? {} : { reason: request.reason };
  return request?.onlyIfIdle ? { kind: 'idle', forRoom: true, ...reason } : { kind: 'pause', ...reason };
}

function causeOf({ kind, observation }: Letter): { why?: Explanation } {
  if (kind === 'seenGone') return { why: processEnded(observation?.exitCode ?? null) };
  return kind === 'seenSilent' ? { why: noAnswer } : {};
}

/** What whoever gave an order is told. */
function answerTo(order: SandboxOrder, outcome: Outcome): SandboxStatus {
  const { status, refused, failure, deleted } = outcome;
  if (order !== 'delete' && deleted) throw conflict(order, 'deleted');
  if (refused) throw conflict(order, status);
  if (failure) throw ApplicationFailure.nonRetryable(failure.message, failure.type);
  return status;
}

const conflict = (order: SandboxOrder, what: string): ApplicationFailure =>
  ApplicationFailure.nonRetryable(`cannot ${order} a sandbox that is ${what}`, 'SandboxStatusConflict');

const notRunning = ({ status, detail, failureType }: Outcome): ApplicationFailure =>
  ApplicationFailure.nonRetryable(detail ?? `it is ${status}`, failureType ?? 'SandboxNotRunning');
