import { eq } from 'drizzle-orm';
import type { Database } from '../db/database.js';
import { users } from '../db/schema/index.js';

/** A person as the identity provider knows them. */
export interface UserProfile {
  /** The provider's stable id. */
  id: string;
  login: string | null;
  name: string | null;
  email: string | null;
}

/** Users who have signed in at least once. */
export class UserRepository {
  constructor(private readonly database: Database) {}

  /** Stores a user, or what changed about one. */
  async save(profile: UserProfile): Promise<void> {
    const row = { ...profile, updatedAt: new Date() };
    await this.database.insert(users).values(row).onConflictDoUpdate({ target: users.id, set: row });
  }

  /** Stores a user of whom nothing but the id is known; what is known already stays. */
  async ensure(profile: UserProfile): Promise<void> {
    await this.database
      .insert(users)
      .values({ ...profile, updatedAt: new Date() })
      .onConflictDoNothing();
  }

  async find(id: string): Promise<UserProfile | null> {
    // A NUL cannot be stored, hence cannot be anybody's id; asking for it would be an error of the database.
    if (id.includes('\0')) return null;
    const [row] = await this.database
      .select({ id: users.id, login: users.login, name: users.name, email: users.email })
      .from(users)
      .where(eq(users.id, id));
    return row ?? null;
  }
}
