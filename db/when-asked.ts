/**
 * A value that is made when it is first asked for, and kept. For prepared statements: making one takes longer than
 * asking it, and whoever only wants the routes of an API has no database to make it of.
 */
export function whenAsked<Value extends object>(make: () => Value): () => Value {
  let made: Value | null = null;
  return () => (made ??= make());
}
