/** What the agent-server knows about a workspace: skills, hooks, git, LLM profiles (agent-server contract 16). */
import { z } from 'zod';
import { GitChange, GitDiff, HooksAnswer, ProfilesAnswer, SkillsAnswer } from './schemas.js';
import type { HookConfig, ProfileSummary } from './schemas.js';
import type { CallOptions, Transport } from './transport.js';

/** Skills may be cloned from a remote repository, which takes its time. */
const SKILLS_MS = 120_000;

export interface SkillsRequest {
  /** Skills of the public registry, from a git clone; left out without a word where there is no network. */
  load_public: boolean;
  load_user: boolean;
  load_project: boolean;
  load_org: boolean;
  project_dir: string;
  /** Repositories of organizations; `org_repo_url` may carry a token. */
  org_configs?:
    | {
        repository: string;
        provider: string;
        org_repo_url: string;
        org_name: string;
      }[]
    | null;
  sandbox_config?: { exposed_urls: { name: string; url: string; port: number }[] } | null;
  /** Null is refused by the server, so it is left out then. */
  registered_marketplaces?: Record<string, unknown>[] | null;
  /** Null means all public skills; left out, the server's default marketplace. */
  marketplace_path?: string | null;
}

export function workspaceCalls(transport: Transport) {
  return {
    /** Everything an agent may be told about the project, the user and the organization. */
    skills(body: SkillsRequest, options: CallOptions = {}): Promise<SkillsAnswer> {
      const { registered_marketplaces, ...rest } = body;
      return transport.json(
        {
          method: 'POST',
          path: '/api/skills',
          body: registered_marketplaces ? body : rest,
          idempotent: true,
          timeoutMs: SKILLS_MS,
          ...options,
        },
        SkillsAnswer,
      );
    },

    /** Hooks of `<projectDir>/.openhands/hooks.json`, null if there are none. */
    async hooks(projectDir: string, options: CallOptions = {}): Promise<HookConfig | null> {
      const answer = await transport.json(
        {
          method: 'POST',
          path: '/api/hooks',
          body: { project_dir: projectDir },
          idempotent: true,
          ...options,
        },
        HooksAnswer,
      );
      return answer.hook_config ?? null;
    },

    /** Changed files of a repository, untracked ones included; empty where there is no repository. */
    gitChanges: (
      directory: string,
      ref: string | null = null,
      options: CallOptions = {},
    ): Promise<GitChange[]> =>
      transport.json(
        {
          method: 'GET',
          path: '/api/git/changes',
          query: gitQuery(directory, ref),
          idempotent: true,
          ...options,
        },
        z.array(GitChange),
      ),

    /** One file before and after. */
    gitDiff: (file: string, ref: string | null = null, options: CallOptions = {}): Promise<GitDiff> =>
      transport.json(
        { method: 'GET', path: '/api/git/diff', query: gitQuery(file, ref), idempotent: true, ...options },
        GitDiff,
      ),

    /** Stores an LLM profile with its key, replacing one of that name. */
    async saveProfile(name: string, llm: Record<string, unknown>, options: CallOptions = {}): Promise<void> {
      await transport.send({
        method: 'POST',
        path: `/api/profiles/${encodeURIComponent(name)}`,
        body: { include_secrets: true, llm },
        idempotent: true,
        ...options,
      });
    },

    /** Stored LLM profiles, without keys. */
    async profiles(options: CallOptions = {}): Promise<ProfileSummary[]> {
      const answer = await transport.json(
        { method: 'GET', path: '/api/profiles', idempotent: true, ...options },
        ProfilesAnswer,
      );
      return answer.profiles;
    },

    /** Removes an LLM profile; gone already is fine. */
    async deleteProfile(name: string, options: CallOptions = {}): Promise<void> {
      await transport.send({
        method: 'DELETE',
        path: `/api/profiles/${encodeURIComponent(name)}`,
        idempotent: true,
        accept: [404],
        ...options,
      });
    },
  };
}

function gitQuery(path: string, ref: string | null): [string, string][] {
  return ref === null
    ? [['path', path]]
    : [
        ['path', path],
        ['ref', ref],
      ];
}
