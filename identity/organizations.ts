import { randomUUID } from 'node:crypto';
import { and, asc, eq, inArray, notInArray, sql } from 'drizzle-orm';
import type { Database } from '../db/database.js';
import { organizationMembers, organizations } from '../db/schema/index.js';
import { BoundedCache } from './bounded-cache.js';
import type { OrganizationContext } from './user-context.js';

/** A user's place in one organization. */
export interface Membership {
  organizationId: string;
  name: string;
  role: string;
}

/** A membership as an identity provider's claims say it. */
export interface ClaimedMembership {
  name: string;
  role: string;
}

export interface OrganizationLimits {
  /** How long the members of an organization are remembered, in milliseconds: a change counts everywhere after it. */
  freshForMs?: number;
  /** Organizations remembered at a time. */
  mostOrganizations?: number;
  /** Members of one organization that see each other's things; further ones see these and their own. */
  mostMembers?: number;
}

/** Organizations and who belongs to them; looking up is cached and bounded. */
export class OrganizationDirectory {
  readonly #members: BoundedCache<readonly string[]>;
  readonly #mostMembers: number;

  constructor(
    private readonly database: Database,
    { freshForMs = 30_000, mostOrganizations = 1_000, mostMembers = 10_000 }: OrganizationLimits = {},
  ) {
    this.#members = new BoundedCache(freshForMs, mostOrganizations);
    this.#mostMembers = mostMembers;
  }

  /** What a user belongs to, by name. */
  async membershipsOf(userId: string): Promise<Membership[]> {
    return this.database
      .select({
        organizationId: organizations.id,
        name: organizations.name,
        role: organizationMembers.role,
      })
      .from(organizationMembers)
      .innerJoin(organizations, eq(organizations.id, organizationMembers.organizationId))
      .where(eq(organizationMembers.userId, userId))
      .orderBy(asc(organizations.name))
      .limit(this.#mostMembers);
  }

  /** Whether a user belongs to an organization, read anew. */
  async isMember(organizationId: string, userId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ userId: organizationMembers.userId })
      .from(organizationMembers)
      .where(
        and(eq(organizationMembers.organizationId, organizationId), eq(organizationMembers.userId, userId)),
      );
    return row !== undefined;
  }

  /** The context of a user in whose session an organization is active, or none. */
  contextOf(organizationId: string | null, userId: string): OrganizationContext {
    if (organizationId === null) return NO_ORGANIZATION;
    return {
      activeOrganizationId: organizationId,
      memberUserIds: async () => {
        const members = await this.#membersOf(organizationId);
        if (members.length < this.#mostMembers || members.includes(userId)) return members;
        return (await this.isMember(organizationId, userId)) ? [userId, ...members] : members;
      },
      isMember: (other) => this.isMember(organizationId, other),
    };
  }

  /**
   * Makes the memberships that came from claims those of `claimed`; organizations are made as they are first named.
   * Memberships that somebody stored stay.
   */
  async replaceClaimed(userId: string, claimed: readonly ClaimedMembership[]): Promise<void> {
    const touched = await this.database.transaction(async (tx) => {
      // Two sign-ins of one user at once would otherwise mix their claims.
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`memberships/${userId}`}, 6))`);
      const roles = new Map(claimed.map(({ name, role }) => [name, role]));
      const names = [...roles.keys()].sort();
      if (names.length > 0) {
        await tx
          .insert(organizations)
          .values(names.map((name) => ({ id: randomUUID(), name })))
          .onConflictDoNothing();
      }
      const rows = names.length
        ? await tx.select().from(organizations).where(inArray(organizations.name, names))
        : [];
      const ids = rows.map(({ id }) => id);
      const removed = await tx
        .delete(organizationMembers)
        .where(
          and(
            eq(organizationMembers.userId, userId),
            eq(organizationMembers.source, 'claims'),
            ids.length > 0 ? notInArray(organizationMembers.organizationId, ids) : undefined,
          ),
        )
        .returning({ organizationId: organizationMembers.organizationId });
      if (rows.length > 0) {
        await tx
          .insert(organizationMembers)
          .values(
            rows.map(({ id, name }) => ({
              organizationId: id,
              userId,
              role: roles.get(name) ?? 'member',
              source: 'claims' as const,
            })),
          )
          .onConflictDoUpdate({
            target: [organizationMembers.organizationId, organizationMembers.userId],
            set: { role: sql`excluded.role` },
            setWhere: eq(organizationMembers.source, 'claims'),
          });
      }
      return [...ids, ...removed.map(({ organizationId }) => organizationId)];
    });
    for (const id of touched) this.#members.forget(id);
  }

  /** Stores a membership that no claim ends. */
  async addMember(organizationId: string, userId: string, role = 'member'): Promise<void> {
    await this.database
      .insert(organizationMembers)
      .values({ organizationId, userId, role, source: 'stored' })
      .onConflictDoUpdate({
        target: [organizationMembers.organizationId, organizationMembers.userId],
        set: { role, source: 'stored' },
      });
    this.#members.forget(organizationId);
  }

  /** Ends a membership, whatever it came from. @returns whether there was one. */
  async removeMember(organizationId: string, userId: string): Promise<boolean> {
    const removed = await this.database
      .delete(organizationMembers)
      .where(
        and(eq(organizationMembers.organizationId, organizationId), eq(organizationMembers.userId, userId)),
      )
      .returning({ userId: organizationMembers.userId });
    this.#members.forget(organizationId);
    return removed.length > 0;
  }

  #membersOf(organizationId: string): Promise<readonly string[]> {
    return this.#members.get(organizationId, async () => {
      const rows = await this.database
        .select({ userId: organizationMembers.userId })
        .from(organizationMembers)
        .where(eq(organizationMembers.organizationId, organizationId))
        .orderBy(asc(organizationMembers.userId))
        .limit(this.#mostMembers);
      return rows.map(({ userId }) => userId);
    });
  }
}

/** The context of those who act for themselves. */
export const NO_ORGANIZATION: OrganizationContext = {
  activeOrganizationId: null,
  memberUserIds: () => Promise.resolve([]),
  isMember: () => Promise.resolve(false),
};

/**
 * The organization that is active in a new session: the one asked for, else the only one there is.
 * @returns null when none is active; undefined when the one asked for is not theirs
 */
export function chooseOrganization(
  memberships: readonly Membership[],
  wanted: string | null,
): Membership | null | undefined {
  if (wanted !== null) return memberships.find(({ name }) => name === wanted);
  return memberships.length === 1 ? (memberships[0] ?? null) : null;
}
