/** Where a repository is cloned from, and what git has to answer when the provider asks who it is. */
import type { GitProvider } from '../contract/primitives.js';
import type { ProviderToken } from '../identity/user-context.js';
import { addressText, InvalidRepository, providerAddress } from './host-address.js';

/** Name and password for HTTP; the password is a token. */
export interface GitCredentials {
  username: string;
  password: string;
}

export interface CloneSource {
  /** Without credentials: this is what stays in the clone's configuration. */
  url: string;
  /** Scheme, host and port: the only place the credentials may be sent to. */
  origin: string;
  /** Null for a repository that is read without identity. */
  credentials: GitCredentials | null;
}

/** How many parts a repository name has: `owner/name`, groups within groups, `organization/project/name`. */
const SEGMENTS: Partial<Record<GitProvider, { min: number; max: number; form: string }>> = {
  github: { min: 2, max: 2, form: 'owner/name' },
  gitlab: { min: 2, max: 20, form: 'group/name' },
  bitbucket: { min: 2, max: 2, form: 'workspace/name' },
  bitbucket_data_center: { min: 2, max: 2, form: 'project/name' },
  forgejo: { min: 2, max: 2, form: 'owner/name' },
  azure_devops: { min: 2, max: 3, form: 'organization/project/name' },
};

/**
 * Address and credentials of a repository at a provider.
 * @param repository `owner/name` or what the provider has instead, as users select it.
 * @throws {InvalidRepository} when name or host cannot be right, or the provider has no repositories of its own.
 */
export function cloneSource(
  provider: GitProvider,
  repository: string,
  token: ProviderToken | null,
): CloneSource {
  const base = providerAddress(provider, token?.host ?? null);
  const path = repositoryPath(provider, repository, base);
  return {
    url: `${addressText(base)}/${path}`,
    origin: base.origin,
    credentials: token === null || token.token === '' ? null : credentialsFor(provider, token.token),
  };
}

/**
 * The parts of a repository's name, as users select it.
 * @throws {InvalidRepository} when there are too few or too many, or one is no name.
 */
export function repositorySegments(provider: GitProvider, repository: string): string[] {
  const rule = SEGMENTS[provider];
  const segments = repository.replace(/\.git$/, '').split('/');
  const wellFormed =
    rule !== undefined &&
    segments.length >= rule.min &&
    segments.length <= rule.max &&
    segments.every(isSegment);
  if (!wellFormed) {
    throw new InvalidRepository(
      `"${shown(repository)}" is not a repository of ${provider} (${rule?.form ?? 'owner/name'})`,
    );
  }
  return segments;
}

function repositoryPath(provider: GitProvider, repository: string, base: URL): string {
  const encoded = repositorySegments(provider, repository).map((segment) => encodeURIComponent(segment));
  if (provider === 'bitbucket_data_center') return `scm/${encoded.join('/')}.git`;
  if (provider === 'azure_devops') return azurePath(encoded, base);
  return `${encoded.join('/')}.git`;
}

/** `organization/project/_git/name`; the organization is left out where the host or its path names it already. */
function azurePath(segments: readonly string[], base: URL): string {
  const name = segments.at(-1) ?? '';
  const before = segments.slice(0, -1);
  const organization = before[0]?.toLowerCase();
  const named =
    before.length === 2 &&
    (base.hostname === `${organization ?? ''}.visualstudio.com` ||
      base.pathname
        .toLowerCase()
        .replace(/\/+$/, '')
        .endsWith(`/${organization ?? ''}`));
  return `${(named ? before.slice(1) : before).join('/')}/_git/${name}`;
}

/** A part of a repository name that is safe as part of an address and, the last one, as the name of a directory. */
function isSegment(segment: string): boolean {
  return (
    /^[^\p{Cc}\p{Cs}/\\:*?"<>|;&$`']+$/u.test(segment) && !/^\.*$/.test(segment) && segment.trim() === segment
  );
}

const shown = (text: string): string => text.slice(0, 100).replaceAll(/[\p{Cc}\p{Cs}"]/gu, '?');

/** Tokens of Bitbucket may carry the name they belong to (`name:app-password`); the others have a fixed one. */
function credentialsFor(provider: GitProvider, token: string): GitCredentials {
  const colon = token.indexOf(':');
  if ((provider === 'bitbucket' || provider === 'bitbucket_data_center') && colon > 0) {
    return { username: token.slice(0, colon), password: token.slice(colon + 1) };
  }
  const usernames: Partial<Record<GitProvider, string>> = {
    github: 'x-access-token',
    gitlab: 'oauth2',
    bitbucket: 'x-token-auth',
    bitbucket_data_center: 'x-token-auth',
  };
  return { username: usernames[provider] ?? 'git', password: token };
}
