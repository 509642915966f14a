/** How the steps of a start fail: typed, in a sentence for people, with nothing secret in it. */
import { ApplicationFailure } from '@temporalio/common';
import { AgentServerError } from '../../agent-server/errors.js';
import { maskText } from '../../contract/masking.js';

/** Longest quotation of a command's output, in characters. */
const QUOTED_CHARACTERS = 1_500;
/** Lines of a command's output that are quoted. */
const QUOTED_LINES = 15;

/** A failure that another attempt would only repeat. */
export const permanentFailure = (
  type: string,
  message: string,
  secrets: Iterable<string> = [],
): ApplicationFailure => ApplicationFailure.nonRetryable(maskText(message, secrets), type);

/** A failure that another attempt may mend. */
export const passingFailure = (
  type: string,
  message: string,
  secrets: Iterable<string> = [],
): ApplicationFailure => ApplicationFailure.retryable(maskText(message, secrets), type);

/** The last lines of what a command printed, progress bars reduced to their last state; empty if it printed nothing. */
export function lastLines(output: string, lines = QUOTED_LINES): string {
  return output
    .split('\n')
    .map((line) => line.split('\r').filter(Boolean).at(-1)?.trimEnd() ?? '')
    .filter((line) => line !== '')
    .slice(-lines)
    .join('\n')
    .slice(-QUOTED_CHARACTERS);
}

/** Turns an agent-server's failure into the failure of an activity; everything else is passed on as it is. */
export function agentServerFailure(error: unknown, doing: string, secrets: Iterable<string>): unknown {
  if (!(error instanceof AgentServerError)) return error;
  const text = `The agent-server of the sandbox could not ${doing}: ${error.message}`;
  const permanent =
    error.kind === 'http' && error.status !== null && error.status >= 400 && error.status < 500;
  return permanent
    ? permanentFailure('AgentServerRefusal', text, secrets)
    : passingFailure('AgentServerUnavailable', text, secrets);
}
