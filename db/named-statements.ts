/**
 * Statements that come again and again are named, so that each connection parses them once and PostgreSQL plans them
 * once: a start is dozens of small statements, whose planning took as long as they did.
 */
import pg from 'pg';

/** Times that a text has come before it is worth a name. */
const WORTH_NAMING = 3;
/** Most names, which is most plans that one connection keeps. */
const MOST_NAMES = 300;
/** Most texts that are counted: lists of ever other lengths make new ones without end. */
const MOST_COUNTED = 2_000;
/** Of a page, the best plan depends on the values: few rows of one owner, or nearly all there are. */
const IS_PAGE = /\border by\b.*\blimit\b/is;

/** Knows the names of the statements of one pool. */
export class StatementNames {
  readonly #names = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  /** What to call this text; undefined while it is rare, and for what is better planned for its values each time. */
  nameOf(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    if (this.#names.size >= MOST_NAMES || IS_PAGE.test(text)) return undefined;
    const count = (this.#counts.get(text) ?? 0) + 1;
    if (count < WORTH_NAMING) {
      if (this.#counts.size >= MOST_COUNTED) this.#counts.clear();
      this.#counts.set(text, count);
      return undefined;
    }
    this.#counts.delete(text);
    const name = `often_${this.#names.size + 1}`;
    this.#names.set(text, name);
    return name;
  }
}

/** A client for a pool, whose statements with parameters get their names; those that have one keep it. */
export function clientNaming(names: StatementNames): typeof pg.Client {
  return class extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config);
      const naming = (first: unknown, ...rest: unknown[]): unknown => {
        const query = super.query.bind(this) as (...given: unknown[]) => unknown;
        return query(named(first, rest[0], names), ...rest);
      };
      this.query = naming as typeof this.query;
    }
  };
}

function named(statement: unknown, values: unknown, names: StatementNames): unknown {
  if (!isUnnamed(statement) || !Array.isArray(values ?? statement.values)) return statement;
  const name = names.nameOf(statement.text);
  return name === undefined ? statement : { ...statement, name };
}

/** A statement as drizzle gives it; a `Submittable` is something else. */
const isUnnamed = (statement: unknown): statement is { text: string; values?: unknown } =>
  typeof statement === 'object' &&
  statement !== null &&
  !('submit' in statement) &&
  'text' in statement &&
  typeof statement.text === 'string' &&
  !('name' in statement && statement.name);
