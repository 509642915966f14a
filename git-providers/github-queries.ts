/** GitHub's GraphQL: what its REST API cannot tell, or only by one request for each thing. */
import { z } from 'zod';
import type { Branch, SuggestedTask } from '../contract/git.js';

const nodes = <Node extends z.ZodType>(node: Node) =>
  z
    .object({ nodes: z.array(node.nullable()).nullable() })
    .nullish()
    .transform((list) => (list?.nodes ?? []).filter((one) => one !== null));

export const GraphQlAnswer = <Data extends z.ZodType>(data: Data) =>
  z.object({
    data: data.nullish(),
    errors: z.array(z.object({ type: z.string().nullish() })).nullish(),
  });

export const SEARCH_BRANCHES = `query ($owner: String!, $name: String!, $query: String!, $limit: Int!) {
  repository(owner: $owner, name: $name) {
    refs(refPrefix: "refs/heads/", query: $query, first: $limit) {
      nodes { name branchProtectionRule { id } target { oid ... on Commit { committedDate } } }
    }
  }
}`;

export const FoundBranches = z.object({
  repository: z
    .object({
      refs: nodes(
        z.object({
          name: z.string(),
          branchProtectionRule: z.unknown().nullish(),
          target: z.object({ oid: z.string(), committedDate: z.string().nullish() }).nullable(),
        }),
      ),
    })
    .nullish(),
});

export const branchesOf = ({ repository }: z.output<typeof FoundBranches>): Branch[] =>
  (repository?.refs ?? []).map(({ name, branchProtectionRule, target }) => ({
    name,
    commit_sha: target?.oid ?? '',
    protected: Boolean(branchProtectionRule),
    last_push_date: target?.committedDate ?? null,
  }));

export const SUGGESTED_TASKS = `query ($limit: Int!) {
  viewer {
    pullRequests(first: $limit, states: [OPEN], orderBy: { field: UPDATED_AT, direction: DESC }) {
      nodes {
        number title mergeable reviewDecision
        repository { nameWithOwner }
        reviewThreads(first: 50) { nodes { isResolved } }
        commits(last: 1) { nodes { commit { statusCheckRollup { state } } } }
      }
    }
  }
  search(query: "is:open is:issue assignee:@me archived:false sort:updated-desc", type: ISSUE, first: $limit) {
    nodes { ... on Issue { number title repository { nameWithOwner } } }
  }
}`;

const Titled = z.object({
  number: z.int(),
  title: z.string(),
  repository: z.object({ nameWithOwner: z.string() }),
});
export const FoundTasks = z.object({
  viewer: z.object({
    pullRequests: nodes(
      Titled.extend({
        mergeable: z.string().nullish(),
        reviewDecision: z.string().nullish(),
        reviewThreads: nodes(z.object({ isResolved: z.boolean() })),
        commits: nodes(
          z.object({
            commit: z.object({ statusCheckRollup: z.object({ state: z.string() }).nullish() }),
          }),
        ),
      }),
    ),
  }),
  search: nodes(Titled),
});

type PullRequest = z.output<typeof FoundTasks>['viewer']['pullRequests'][number];

/** Pull requests that wait for their author, by what is most in the way; those that wait for others are no tasks. */
export function tasksOf({ viewer, search }: z.output<typeof FoundTasks>): SuggestedTask[] {
  const task = (type: SuggestedTask['task_type'], found: z.output<typeof Titled>): SuggestedTask => ({
    git_provider: 'github',
    task_type: type,
    repo: found.repository.nameWithOwner,
    issue_number: found.number,
    title: found.title,
  });
  return [
    ...viewer.pullRequests.flatMap((pullRequest) => {
      const type = typeOf(pullRequest);
      return type ? [task(type, pullRequest)] : [];
    }),
    ...search.map((issue) => task('OPEN_ISSUE', issue)),
  ];
}

function typeOf(pullRequest: PullRequest): SuggestedTask['task_type'] | null {
  if (pullRequest.mergeable === 'CONFLICTING') return 'MERGE_CONFLICTS';
  const checks = pullRequest.commits[0]?.commit.statusCheckRollup?.state;
  if (checks === 'FAILURE' || checks === 'ERROR') return 'FAILING_CHECKS';
  const isCommented = pullRequest.reviewThreads.some(({ isResolved }) => !isResolved);
  return isCommented || pullRequest.reviewDecision === 'CHANGES_REQUESTED' ? 'UNRESOLVED_COMMENTS' : null;
}
