/** What Azure DevOps answers, and what of it is shown. */
import { z } from 'zod';
import type { GitUser, Repository } from '../contract/git.js';

export const Listed = <Item extends z.ZodType>(item: Item) => z.object({ value: z.array(item) });
export const Found = z.object({
  id: z.string(),
  name: z.string(),
  project: z.object({
    name: z.string(),
    visibility: z.string().nullish(),
    lastUpdateTime: z.string().nullish(),
  }),
  defaultBranch: z.string().nullish(),
  isDisabled: z.boolean().nullish(),
});
export const Reference = z.object({ name: z.string(), objectId: z.string() });
export const PullRequest = z.object({
  pullRequestId: z.int(),
  title: z.string(),
  mergeStatus: z.string().nullish(),
  repository: z.object({ name: z.string(), project: z.object({ name: z.string() }) }),
});
export const Connected = z.object({
  authenticatedUser: z.object({
    id: z.string(),
    providerDisplayName: z.string().nullish(),
    properties: z.object({ Account: z.object({ $value: z.string() }).nullish() }).nullish(),
  }),
});
export const Profile = z.object({
  id: z.string(),
  displayName: z.string().nullish(),
  emailAddress: z.string().nullish(),
});

export const userOf = (id: string, account: string, name: string | null): GitUser => ({
  id,
  login: account || (name ?? ''),
  avatar_url: '',
  company: null,
  name,
  email: account.includes('@') ? account : null,
});

export const repositoryOf = (organization: string, found: z.output<typeof Found>): Repository => ({
  id: found.id,
  full_name: `${organization}/${found.project.name}/${found.name}`,
  git_provider: 'azure_devops',
  is_public: found.project.visibility === 'public',
  stargazers_count: null,
  link_header: null,
  pushed_at: found.project.lastUpdateTime ?? null,
  owner_type: 'organization',
  main_branch: found.defaultBranch?.replace(/^refs\/heads\//, '') ?? null,
});
