import { isAuthor, type UserContext } from '../identity/user-context.js';
import { HttpError } from './http-error.js';

/** What has an author. */
type Thing = 'conversation' | 'sandbox' | 'start task';

/**
 * Members of an organization see each other's things; only the author of one gives it orders (contract 14).
 * @throws {HttpError} 403 for somebody who may see it but not change it
 */
export function requireAuthor(user: UserContext, createdByUserId: string | null, thing: Thing): void {
  if (!isAuthor(user, createdByUserId)) throw othersThing(thing);
}

/** The answer to an order for another member's thing. */
export const othersThing = (thing: Thing): HttpError =>
  new HttpError(403, `This ${thing} belongs to another member: only its author may change it.`);
