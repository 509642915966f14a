/** What a failed clone means, in words that a person can act on. */
import type { ApplicationFailure } from '@temporalio/common';
import type { CommandResult } from '../../agent-server/bash.js';
import type { GitProvider } from '../../contract/primitives.js';
import { readReport } from './clone-script.js';
import { lastLines, permanentFailure } from './failures.js';

export interface FailedClone {
  repository: string;
  branch: string | null;
  provider: GitProvider;
  /** Where it was cloned from: scheme, host and port. */
  origin: string;
  destination: string;
  authenticated: boolean;
  limitSeconds: number;
  secrets: readonly string[];
}

/** What git says when the provider did not let us in, or pretends that there is nothing. */
const NOT_LET_IN =
  /authentication failed|could not read (username|password)|access denied|returned error: 40[0134]|invalid (username|credentials)|repository .*not found|access rights|permission denied/i;

/** The first words of the two authentication failures are fixed by the contract (3.4). */
export function cloneFailure(result: CommandResult, clone: FailedClone): ApplicationFailure {
  const { repository, branch, provider, origin } = clone;
  const fail = (type: string, message: string) => permanentFailure(type, message, clone.secrets);
  const said = lastLines(result.stderr);
  const failed = readReport(result.stdout).failed;

  if (result.timedOut) {
    return fail(
      'CloneTimeout',
      `git clone of ${repository} from ${origin} did not end within ${clone.limitSeconds} s: raise CLONE_TIMEOUT_SECONDS, or turn off full clones in the settings.`,
    );
  }
  if (failed === 'no-git') {
    return fail(
      'GitMissing',
      `git is not installed in the sandbox, so ${repository} cannot be cloned: install it there.`,
    );
  }
  if (failed === 'directory') {
    return fail(
      'WorkingDirectoryUnusable',
      `The directory of ${clone.destination} could not be made in the sandbox: ${said}. Make it writable for the sandbox.`,
    );
  }
  if (failed === 'occupied') {
    return fail(
      'ProjectDirectoryOccupied',
      `${clone.destination} in the sandbox is not empty and not a clone of ${repository} from ${origin}: start in another sandbox, or remove it.`,
    );
  }
  if (failed === 'checkout') {
    return fail(
      'CheckoutFailed',
      `git checkout${branch === null ? '' : ` of the branch "${branch}"`} in ${clone.destination} failed with exit code ${result.exitCode}: ${said}`,
    );
  }
  if (branch !== null && /(remote branch .* not found|couldn't find remote ref)/i.test(said)) {
    return fail(
      'BranchNotFound',
      `The branch "${branch}" does not exist in ${repository} at ${origin}: choose another branch, or none for the default one.`,
    );
  }
  if (NOT_LET_IN.test(said)) {
    return clone.authenticated
      ? fail(
          'GitAuthenticationFailed',
          `Git provider authentication issue when getting remote URL: ${origin} did not give access to ${repository} with the ${provider} token (${oneLine(said)}). Renew the token in the settings, or check the name.`,
        )
      : fail(
          'GitTokenMissing',
          `Missing either Git token or valid repository: ${repository} cannot be read from ${origin} without a token (${oneLine(said)}). Add a ${provider} token in the settings, or check the name.`,
        );
  }
  return fail(
    'CloneFailed',
    `git clone of ${repository} from ${origin} failed with exit code ${result.exitCode}: ${said || 'git said nothing'}`,
  );
}

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, '; ');
