import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { explain } from '../../../workflows/failures.js';

type Limit = 'START_TO_CLOSE' | 'SCHEDULE_TO_CLOSE' | 'SCHEDULE_TO_START' | 'HEARTBEAT';

const failureOf = (activity: string, cause: Error) =>
  new ActivityFailure('Activity task failed', activity, '1', 'TIMEOUT', undefined, cause);
const timeoutOf = (activity: string, limit: Limit, details?: unknown) =>
  failureOf(activity, new TimeoutFailure('timed out', details, limit));

describe('what a start says of a time limit', () => {
  it.each([
    ['awaitSandbox', /^Waiting for the sandbox took longer .*SANDBOX_STARTUP_TIMEOUT_SECONDS/],
    ['boot', /^Starting the sandbox took longer .*SANDBOX_STARTUP_TIMEOUT_SECONDS/],
    ['prepareRepository', /^Preparing the repository took longer .*raise CLONE_TIMEOUT_SECONDS\.$/],
    ['runSetupScript', /^Running \.openhands\/setup\.sh took longer .*raise SETUP_SCRIPT_TIMEOUT_SECONDS\.$/],
    ['installGitHooks', /^Setting up the git hooks took longer .*log of its sandbox/],
    ['prepareSkills', /^Loading the skills took longer .*log of its sandbox/],
    ['createConversation', /^Starting the conversation took longer .*log of its sandbox/],
  ])('names the phase of %s, and what to do', (activity, sentence) => {
    for (const limit of ['START_TO_CLOSE', 'SCHEDULE_TO_CLOSE'] as const) {
      const { message, type } = explain(timeoutOf(activity, limit));
      expect(message).toMatch(sentence);
      expect(type).toBe('ActivityTimeout');
    }
    expect(explain(timeoutOf(activity, 'SCHEDULE_TO_START')).message).toMatch(
      /was not begun: no worker took it up\. Check that `callboard worker` runs/,
    );
  });

  it('tells what was being done last, and what had failed before', () => {
    expect(
      explain(timeoutOf('prepareRepository', 'HEARTBEAT', { phase: 'cloning acme/rocket' })).message,
    ).toMatch(
      /^Preparing the repository was given up: its worker stopped reporting while cloning acme\/rocket\. Check/,
    );
    const timeout = new TimeoutFailure('timed out', undefined, 'SCHEDULE_TO_CLOSE');
    Object.assign(timeout, { cause: ApplicationFailure.retryable('the agent-server answered 503') });
    expect(explain(failureOf('prepareSkills', timeout)).message).toMatch(
      /Last seen: the agent-server answered 503$/,
    );
  });

  it('takes over the words of an activity, and calls a cancellation one', () => {
    const refused = ApplicationFailure.nonRetryable('exit code 128: no such branch', 'BranchNotFound');
    expect(explain(failureOf('prepareRepository', refused))).toEqual({
      message: 'exit code 128: no such branch',
      type: 'BranchNotFound',
    });
    expect(explain(failureOf('prepareRepository', new CancelledFailure('CANCELLED')))).toEqual({
      message: 'cancelled',
      type: 'Cancelled',
    });
  });
});
