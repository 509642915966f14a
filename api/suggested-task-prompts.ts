import type { GitProvider } from '../contract/primitives.js';
import type { SuggestedTask } from '../contract/start-task.js';

/** How a provider calls the things an agent is sent to. */
interface Terms {
  /** Name people know the provider by. */
  name: string;
  /** A proposal to merge. */
  change: string;
  /** Environment variable that holds the token. */
  token: string;
  /** What checks a change automatically. */
  checks: string;
}

const PULL_REQUEST = 'pull request';

/** Providers for which there are prompts (contract 3.3). */
const TERMS: Partial<Record<GitProvider, Terms>> = {
  github: { name: 'GitHub', change: PULL_REQUEST, token: 'GITHUB_TOKEN', checks: 'workflow runs' },
  gitlab: { name: 'GitLab', change: 'merge request', token: 'GITLAB_TOKEN', checks: 'CI pipelines' },
  bitbucket: { name: 'Bitbucket', change: PULL_REQUEST, token: 'BITBUCKET_TOKEN', checks: 'pipelines' },
  bitbucket_data_center: {
    name: 'Bitbucket Data Center',
    change: PULL_REQUEST,
    token: 'BITBUCKET_DATA_CENTER_TOKEN',
    checks: 'builds',
  },
};

/**
 * The message with which an agent begins to work on a suggested task.
 * @returns null when there is no prompt for this kind of task or for this provider
 */
export function suggestedTaskPrompt({
  git_provider,
  task_type,
  repo,
  issue_number,
  title,
}: SuggestedTask): string | null {
  const terms = TERMS[git_provider];
  if (!terms) return null;
  const { name, change, token, checks } = terms;
  const target = `${change} #${issue_number} ("${title}") of the ${name} repository ${repo}`;
  const api = `Read it through the ${name} API; the token is in the environment variable ${token}.`;
  const push = `Commit to the branch of the ${change} and push it; do not open another one.`;
  switch (task_type) {
    case 'MERGE_CONFLICTS':
      return lines(
        `The ${target} cannot be merged because of conflicts. Resolve them.`,
        `${api} Find out its source and target branches, check out the source branch and bring in the target branch.`,
        'For each conflict, understand what both sides wanted and keep the intent of both; ask if that is not possible.',
        `Make sure that the code builds and the tests pass. ${push}`,
      );
    case 'FAILING_CHECKS':
      return lines(
        `Some ${checks} of the ${target} fail. Make them pass.`,
        `${api} Check out its branch, read the logs of what failed and reproduce the failure locally where you can.`,
        'Mend the cause rather than the check: do not skip, weaken or delete tests.',
        push,
      );
    case 'UNRESOLVED_COMMENTS':
      return lines(
        `Reviewers have left comments on the ${target} that are not resolved yet. Take care of them.`,
        `${api} Check out its branch, read the open review threads and change the code as they ask.`,
        'Where you disagree or a comment is unclear, leave the code as it is and say why in your summary.',
        push,
      );
    case 'OPEN_ISSUE':
      return lines(
        `Solve issue #${issue_number} ("${title}") of the ${name} repository ${repo}.`,
        `Read the issue and its comments through the ${name} API; the token is in the environment variable ${token}.`,
        'Look at the code first, explain the cause in a sentence or two, then make the smallest change that solves it, with a test.',
        `Work on a new branch, push it and open a ${change} whose description refers to the issue.`,
      );
    case 'OPEN_PR':
      return null;
  }
}

const lines = (...parts: string[]): string => parts.join('\n\n');
