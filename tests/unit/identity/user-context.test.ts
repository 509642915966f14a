import { describe, expect, it } from 'vitest';
import { INTERNAL, NOBODY, NO_TOKENS } from '../../../identity/auth-strategy.js';
import {
  isAuthor,
  ownUserIds,
  visibleUserIds,
  type OrganizationContext,
  type UserContext,
} from '../../../identity/user-context.js';

const organization = (
  members: string[],
  activeOrganizationId: string | null = 'o1',
): OrganizationContext => ({
  activeOrganizationId,
  memberUserIds: () => Promise.resolve(members),
  isMember: (userId) => Promise.resolve(members.includes(userId)),
});
const ann = (context?: OrganizationContext): UserContext => ({
  userId: 'ann',
  authType: 'cookie',
  tokens: NO_TOKENS,
  ...(context ? { organization: context } : {}),
});

describe('what a caller sees', () => {
  it.each<[string, UserContext, readonly string[] | null]>([
    ['everything where there is no identity', { userId: null, authType: 'none', tokens: NO_TOKENS }, null],
    ['everything when it is the server itself', INTERNAL, null],
    ['nothing when nobody was proved', NOBODY, []],
    ['their own without organizations', ann(), ['ann']],
    ['their own when no organization is active', ann(organization(['ann', 'ben'], null)), ['ann']],
    ['that of all members of the active organization', ann(organization(['ann', 'ben'])), ['ann', 'ben']],
    ['their own when they were removed from it', ann(organization(['ben'])), ['ann']],
  ])('is %s', async (_, user, users) => {
    expect(await visibleUserIds(user)).toEqual(users);
  });
});

describe('what a caller may change', () => {
  it.each<[string, UserContext, readonly string[] | null]>([
    ['is everything where there is no identity', { userId: null, authType: 'none', tokens: NO_TOKENS }, null],
    ['is nothing when nobody was proved', NOBODY, []],
    ['is their own alone, whatever organization is active', ann(organization(['ann', 'ben'])), ['ann']],
  ])('%s', (_, user, users) => {
    expect(ownUserIds(user)).toEqual(users);
  });

  it('never includes what has no author, once there are users', () => {
    expect(isAuthor(ann(), null)).toBe(false);
    expect(isAuthor(ann(), 'ann')).toBe(true);
    expect(isAuthor(ann(organization(['ann', 'ben'])), 'ben')).toBe(false);
  });
});
