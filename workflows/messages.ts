/** Orders and questions that workflows take: what API, command line and other actors may import of `workflows/`. */
import type { PoolReport } from '../contract/sandbox-pool.js';
import type { SandboxLetter } from '../contract/sandbox-transitions.js';
import type { SandboxOrder, SandboxStatus } from '../contract/sandbox.js';
import { defineQuery, defineSignal, defineUpdate } from './message-definitions.js';

/** Names of workflow types: public and permanent. */
export const START_CONVERSATION_WORKFLOW = 'startConversation';
export const SANDBOX_WORKFLOW = 'sandbox';
export const CONVERSATION_WORKFLOW = 'conversation';
export const MAINTENANCE_WORKFLOW = 'maintenance';

export const SANDBOX_POOL_WORKFLOW = 'sandboxPool';

/** Ids only: everything large or secret is read from SQL by the activities. */
export interface StartConversationInput {
  taskId: string;
}

/** Answered when the start task is stored in WORKING: from then on it ends in READY or ERROR. */
export const acceptedUpdate = defineUpdate('accepted');

/** Something to be dealt with; carried over continue-as-new, so members are only ever added, as optional ones. */
export interface Letter {
  kind: SandboxLetter;
  /** What was seen, where the letter tells of it. */
  observation?: SandboxObservation;
  /** Why the sandbox shall sleep, for people. */
  reason?: string;
  /** Somebody else needs the room: idle or not is asked anew, however short a time it is. */
  forRoom?: boolean;
}

/** Where an actor stands; carried over continue-as-new, so members are only ever added, as optional ones. */
export interface SandboxState {
  sandboxId: string;
  /** Row status as last written; STARTING at birth. */
  status: SandboxStatus;
  /** Host that owns it; absent until it is placed. */
  hostId?: string;
  /** Why it is in ERROR, MISSING or PAUSED, for people. */
  detail?: string;
  /** Failure type behind `detail`. */
  failureType?: string;
  /** Which launched thing it is: what is seen of another one is out of date. */
  thing?: string;
  /** Letters that the run before has left. */
  mailbox?: Letter[];
  /** Lost events were being fetched. */
  catchingUp?: boolean;
  /** Stands for the last status that was written: see {@link nextRevision}. */
  revision?: number;
}

/** The row is stored; answered with the status. */
export const sandboxAcceptedUpdate = defineUpdate<SandboxStatus>('accepted');

/** How to pause; left out, it is done whatever the agents do. */
export interface PauseRequest {
  /** Only if no agent works in it and no start is under way; otherwise the answer is RUNNING. */
  onlyIfIdle?: boolean;
  /** Why, for people; shown in its row. */
  reason?: string;
}

/**
 * Orders to a sandbox. The signal is for people, schedules and other workflows and is never refused; the update of the
 * same name is answered when the order has been carried out, or refused with `SandboxStatusConflict`. An order to pause
 * may say how.
 */
export const sandboxSignal = (order: SandboxOrder) => defineSignal(order);
export const sandboxUpdate = (order: SandboxOrder) => defineUpdate<SandboxStatus>(order);
/** The same update, with how to pause; the other orders do not heed it. */
export const requestedUpdate = (order: SandboxOrder) => defineUpdate<SandboxStatus, [PauseRequest]>(order);

/**
 * Answered when the sandbox is RUNNING, started or resumed if need be; fails with why it cannot be, and with
 * `SandboxDeleted` when it was deleted meanwhile.
 */
export const ensureRunningUpdate = defineUpdate<SandboxStatus>('ensureRunning');

/** What a host's watcher saw happen to the thing behind a sandbox. */
export interface SandboxObservation {
  /** `silent`: it lives and does not answer, for minutes; `answering`: it does again. */
  state: 'running' | 'paused' | 'gone' | 'silent' | 'answering';
  exitCode?: number | null;
  /** Which launched thing was seen; left out, whichever it is. */
  thing?: string;
  /** The row says something else than what was seen, and has for a while: whichever is wrong is to be set right. */
  row?: SandboxStatus;
}
export const observedSignal = defineSignal<[SandboxObservation]>('observed');

export const sandboxStateQuery = defineQuery<SandboxState>('state');

/** Carried over continue-as-new, so members are only ever added, as optional ones. */
export interface ConversationInput {
  conversationId: string;
  /** What an earlier run has left to do. */
  due?: { callbacks?: boolean; reconciliation?: boolean; messages?: boolean };
}

/** Events with waiting callbacks are in the queue table: look. */
export const callbacksQueuedSignal = defineSignal('callbacksQueued');
/** Messages wait in the queue table: deliver them. */
export const messagesQueuedSignal = defineSignal('messagesQueued');
/** A run has ended: fetch from the agent-server's log what webhooks have lost of it. */
export const runEndedSignal = defineSignal('runEnded');
/** The conversation is being deleted: stop working for it. */
export const conversationDeletedSignal = defineSignal('deleted');

/** Where a pool stands; carried over continue-as-new, so members are only ever added, as optional ones. */
export interface PoolState {
  specId: string;
  /** An operator has emptied it; it stays so until `fill`. */
  drained?: boolean;
  /** What was made before this time is to be replaced, as an ISO time. */
  recycleBefore?: string;
  /** Boots that have failed one after another, and why the last one did. */
  failures?: number;
  lastFailure?: string;
  /** When the next boot may be tried, as milliseconds of the epoch. */
  retryAt?: number;
  /** Since when sandboxes are missing and none is made, as milliseconds of the epoch. */
  waitingSince?: number;
  /** How it stood at its last look. */
  report?: PoolReport;
}

/** How things stand has changed: look. */
export const poolLookSignal = defineSignal('look');
/** Replace all that is kept warm; what is there may be taken until then. */
export const poolRecycleSignal = defineSignal('recycle');
/** Keep nothing any more, until `fill`. */
export const poolDrainSignal = defineSignal('drain');
/** Keep as many as are configured again. */
export const poolFillSignal = defineSignal('fill');
/** End: whoever kept the sandboxes goes away. */
export const poolCloseSignal = defineSignal('close');
export const poolStateQuery = defineQuery<PoolState>('state');
