/** What the clients of both releases read of git providers (contract 9, 11.1, 16.1). */
import { z } from 'zod';
import { GitProvider } from './primitives.js';

export const GitUser = z.object({
  id: z.string(),
  login: z.string(),
  avatar_url: z.string(),
  company: z.string().nullable(),
  name: z.string().nullable(),
  email: z.string().nullable(),
});
export type GitUser = z.infer<typeof GitUser>;

export const Repository = z.object({
  id: z.string(),
  /** `owner/name`, or what the provider has instead; what a start takes as `selected_repository`. */
  full_name: z.string(),
  git_provider: GitProvider,
  is_public: z.boolean(),
  stargazers_count: z.int().nullable(),
  /** Of the first repository of a page: the provider's `Link` header, by which older clients find the next page. */
  link_header: z.string().nullable(),
  pushed_at: z.string().nullable(),
  owner_type: z.enum(['user', 'organization']).nullable(),
  main_branch: z.string().nullable(),
});
export type Repository = z.infer<typeof Repository>;

export const Branch = z.object({
  name: z.string(),
  commit_sha: z.string(),
  protected: z.boolean(),
  last_push_date: z.string().nullable(),
});
export type Branch = z.infer<typeof Branch>;

export const TASK_TYPES = [
  'MERGE_CONFLICTS',
  'FAILING_CHECKS',
  'UNRESOLVED_COMMENTS',
  'OPEN_ISSUE',
  'OPEN_PR',
] as const;
export const SuggestedTask = z.object({
  git_provider: GitProvider,
  task_type: z.enum(TASK_TYPES),
  repo: z.string(),
  issue_number: z.int(),
  title: z.string(),
});
export type SuggestedTask = z.infer<typeof SuggestedTask>;

export const REPOSITORY_ORDERS = [
  'stars-desc',
  'stars-asc',
  'forks-desc',
  'forks-asc',
  'updated-desc',
  'updated-asc',
] as const;
/** Order of found repositories. */
export const RepositoryOrder = z.enum(REPOSITORY_ORDERS);
export type RepositoryOrder = z.infer<typeof RepositoryOrder>;

export const Microagent = z.object({
  name: z.string(),
  path: z.string(),
  created_at: z.string(),
  git_provider: GitProvider,
});
export const MicroagentContent = z.object({
  content: z.string(),
  path: z.string(),
  triggers: z.array(z.string()),
  git_provider: GitProvider,
});
