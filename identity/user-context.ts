/**
 * Who acts, for whom, and what they may see: the only way for routes, workflows and services to learn it.
 * No route takes a user id, an organization id or a provider token.
 */
import type { GitProvider } from '../contract/primitives.js';

/** A git provider's token and where it is valid. */
export interface ProviderToken {
  token: string;
  /** Host, with optional scheme and port (`git.example.com`, `http://127.0.0.1:8080`); null for the provider's own. */
  host: string | null;
  /** The provider's id of the token's owner, where known. */
  userId: string | null;
}

/** Where provider tokens come from: the local secrets store, an OAuth session, a company's token service. */
export interface TokenProvider {
  get(provider: GitProvider): Promise<ProviderToken | null>;
  getAll(): Promise<ReadonlyMap<GitProvider, ProviderToken>>;
}

export interface UserContext {
  /** Stable id of the acting user; null when the instance has no identity (auth mode none). */
  readonly userId: string | null;
  /** How the caller proved it. */
  readonly authType: 'none' | 'cookie' | 'bearer' | 'internal';
  readonly tokens: TokenProvider;
}

/**
 * The user ids whose things a caller may see; every query is scoped by it.
 * @returns null when everything is visible (auth mode none), else a non-empty list.
 */
export function visibleUserIds(user: UserContext): readonly string[] | null {
  return user.userId === null ? null : [user.userId];
}
