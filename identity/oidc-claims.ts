/** What an OpenID Connect provider says of a person, in our terms. */
import type { ClaimedMembership } from './organizations.js';
import type { UserProfile } from './users.js';

type Claims = Readonly<Record<string, unknown>>;

/** Organizations taken over from one person's claims. */
const MOST_MEMBERSHIPS = 200;
const LONGEST_NAME = 200;

/** @throws when there is no subject, which no provider leaves out */
export function profileFrom(claims: Claims): UserProfile {
  const id = text(claims['sub']);
  if (id === null) throw new Error('the identity provider named no subject');
  return {
    id,
    login: text(claims['preferred_username']),
    name: text(claims['name']),
    // An address that nobody has verified says nothing of who its owner is.
    email: claims['email_verified'] === false ? null : text(claims['email']),
  };
}

/**
 * Organizations named by a claim: a text, a list of texts (groups, as `/acme` too), or an object whose keys are names.
 * @param path name of the claim; dots lead into objects (`realm_access.groups`).
 * @returns null when there is no such claim
 */
export function membershipsFrom(claims: Claims, path: string): ClaimedMembership[] | null {
  const value =
    claims[path] ?? path.split('.').reduce<unknown>((inner, name) => memberOf(inner, name), claims);
  if (value === undefined || value === null) return null;
  const found = entriesOf(value).flatMap(([name, details]) => {
    const clean = name.replace(/^\/+/, '').trim();
    const role = text(memberOf(details, 'role')) ?? 'member';
    return clean === '' || clean.length > LONGEST_NAME || clean.includes('\0') ? [] : [{ name: clean, role }];
  });
  return found.slice(0, MOST_MEMBERSHIPS);
}

function entriesOf(value: unknown): [string, unknown][] {
  if (typeof value === 'string') return [[value, null]];
  if (Array.isArray(value)) {
    return value.flatMap((item): [string, unknown][] => (typeof item === 'string' ? [[item, null]] : []));
  }
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Claims)[name]
    : undefined;

const text = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' && !value.includes('\0') ? value : null;
