/** Orders and questions that workflows take: what API, command line and other actors may import of `workflows/`. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { SandboxOrder, SandboxStatus } from '../contract/sandbox.js';

/** Names of workflow types: public and permanent. */
export const START_CONVERSATION_WORKFLOW = 'startConversation';
export const SANDBOX_WORKFLOW = 'sandbox';
export const CONVERSATION_WORKFLOW = 'conversation';
export const MAINTENANCE_WORKFLOW = 'maintenance';

/** Ids only: everything large or secret is read from SQL by the activities. */
export interface StartConversationInput {
  taskId: string;
}

/** Answered when the start task is stored in WORKING: from then on it ends in READY or ERROR. */
export const acceptedUpdate = defineUpdate('accepted');

/** Where an actor stands; carried over continue-as-new, so members are only ever added, as optional ones. */
export interface SandboxState {
  sandboxId: string;
  /** Row status as last written; STARTING at birth. */
  status: SandboxStatus;
  /** Host that owns it; absent until it is placed. */
  hostId?: string;
  /** Why it is in ERROR or MISSING, for people. */
  detail?: string;
  /** Failure type behind `detail`. */
  failureType?: string;
}

/** The row is stored; answered with the status. */
export const sandboxAcceptedUpdate = defineUpdate<SandboxStatus>('accepted');

/**
 * Orders to a sandbox. The signal is for people, schedules and other workflows and is never refused; the update of the
 * same name is answered when the order has been carried out, or refused with `SandboxStatusConflict`.
 */
export const sandboxSignal = (order: SandboxOrder) => defineSignal(order);
export const sandboxUpdate = (order: SandboxOrder) => defineUpdate<SandboxStatus>(order);

/** Answered when the sandbox is RUNNING, started or resumed if need be; fails with why it cannot be. */
export const ensureRunningUpdate = defineUpdate<SandboxStatus>('ensureRunning');

/** What a host's watcher saw happen to the thing behind a sandbox. */
export interface SandboxObservation {
  state: 'running' | 'paused' | 'gone';
  exitCode?: number | null;
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
