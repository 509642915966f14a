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

/** The organization in whose name somebody acts. Its id stays inside the server and in signed claims. */
export interface OrganizationContext {
  /** Null when none is active: the user sees what is their own. */
  readonly activeOrganizationId: string | null;
  /** Users of the active organization, a bounded number, from a short-lived cache; empty without one. */
  memberUserIds(): Promise<readonly string[]>;
  /** Whether a user belongs to the active organization. */
  isMember(userId: string): Promise<boolean>;
}

/**
 * How the caller proved who they are: `none` = the instance has no identity, `internal` = the server itself acts,
 * `nobody` = nothing was proved, on routes that anybody may call.
 */
export type AuthType = 'none' | 'cookie' | 'bearer' | 'internal' | 'nobody';

export interface UserContext {
  /** Stable id of the acting user; null when there is none: no identity, nobody, or the server itself. */
  readonly userId: string | null;
  readonly authType: AuthType;
  readonly tokens: TokenProvider;
  /** Absent where there are no organizations, which is the same as none being active. */
  readonly organization?: OrganizationContext;
}

/**
 * The user ids whose things a caller may see; every query is scoped by it. Members of the active organization see each
 * other's things; without one everybody sees their own.
 * @returns null when everything is visible (auth mode none, the server itself); nothing is visible to nobody
 */
export async function visibleUserIds(user: UserContext): Promise<readonly string[] | null> {
  if (user.authType === 'nobody') return [];
  if (user.userId === null) return null;
  const organization = user.organization;
  if (!organization?.activeOrganizationId) return [user.userId];
  const members = await organization.memberUserIds();
  // Whoever was removed from the organization a moment ago keeps what is their own, and no more.
  return members.includes(user.userId) ? members : [user.userId];
}

/**
 * The user ids whose things a caller may change: the caller's own. Membership widens what is seen, never what is
 * written: authorship is the current user's alone.
 * @returns null when everything may be changed (auth mode none, the server itself)
 */
export function ownUserIds(user: UserContext): readonly string[] | null {
  if (user.authType === 'nobody') return [];
  return user.userId === null ? null : [user.userId];
}

/** Whether the caller is the author of something and may therefore change it, or use its keys. */
export function isAuthor(user: UserContext, createdByUserId: string | null): boolean {
  const own = ownUserIds(user);
  return own === null || (createdByUserId !== null && own.includes(createdByUserId));
}
