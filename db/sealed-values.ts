/** Finds sealed values wherever they are, so that a rotation of keys forgets no table that a later version adds. */
import { sql, type SQL } from 'drizzle-orm';
import type { Database } from './database.js';

/** A table that may hold sealed values. */
export interface SealedTable {
  name: string;
  /** Columns of its primary key. */
  keys: string[];
  columns: { name: string; isJson: boolean }[];
}

export interface SealedRow {
  /** Values of the primary key. */
  key: string[];
  values: { column: string; isJson: boolean; sealed: string }[];
}

/** Large tables that hold no text of a user's: looking through them would take long and find nothing. */
const NEVER_SEALED = ['event_index', 'callback_queue', 'port_leases'];

/** The form of a sealed value: JWE compact without an encrypted key. */
const SEALED = 'eyJ%..%.%.%';
const PAGE = 200;

export class SealedValues {
  constructor(private readonly database: Database) {}

  async tables(): Promise<SealedTable[]> {
    const { rows } = await this.database.execute<{
      name: string;
      keys: string[];
      columns: SealedTable['columns'];
    }>(sql`
      select c.relname as name,
        (select array_agg(a.attname::text order by array_position(i.indkey::int[], a.attnum::int)) from pg_index i
          join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
          where i.indrelid = c.oid and i.indisprimary) as keys,
        (select json_agg(json_build_object('name', a.attname, 'isJson', a.atttypid = 'jsonb'::regtype) order by a.attnum)
          from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            and a.atttypid in ('text'::regtype, 'jsonb'::regtype)) as columns
      from pg_class c
      where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
        and c.relname not in (${sql.join(
          NEVER_SEALED.map((name) => sql`${name}`),
          sql`, `,
        )})
      order by c.relname`);
    return rows.filter(({ keys, columns }) => keys !== null && columns !== null);
  }

  /** All rows of a table that hold something sealed, in pages, each read when it is asked for. */
  async *pages({ name, keys, columns }: SealedTable): AsyncGenerator<SealedRow[]> {
    const id = (column: string) => sql.identifier(column);
    const list = (parts: SQL[]) => sql.join(parts, sql`, `);
    const texts = columns.map((column) =>
      column.isJson ? sql`${id(column.name)} #>> '{}'` : sql`${id(column.name)}`,
    );
    const order = list(keys.map((key) => sql`${id(key)}`));
    for (let after: string[] | null = null; ;) {
      const seen: SQL =
        after === null ? sql`true` : sql`(${order}) > (${list(after.map((value) => sql`${value}`))})`;
      const { rows } = await this.database.execute<{ key: string[]; texts: (string | null)[] }>(sql`
        select array[${list(keys.map((key) => sql`${id(key)}::text`))}] as key, array[${list(texts)}] as texts
        from ${id(name)}
        where ${seen} and (${sql.join(
          texts.map((text) => sql`${text} like ${SEALED}`),
          sql` or `,
        )})
        order by ${order} limit ${PAGE}`);
      if (rows.length === 0) return;
      yield rows.map((row) => ({
        key: row.key,
        values: row.texts.flatMap((text, at) => {
          const column = columns[at];
          return column && text !== null && FORM.test(text)
            ? [{ column: column.name, isJson: column.isJson, sealed: text }]
            : [];
        }),
      }));
      after = rows.at(-1)?.key ?? null;
    }
  }

  /** Puts another sealed text in the place of one, unless somebody has changed it meanwhile. @returns whether it did */
  async replace(
    table: SealedTable,
    { key }: SealedRow,
    { column, isJson, sealed }: SealedRow['values'][number],
    successor: string,
  ): Promise<boolean> {
    const value = isJson ? sql`to_jsonb(${successor}::text)` : sql`${successor}`;
    const present = isJson ? sql`${sql.identifier(column)} #>> '{}'` : sql`${sql.identifier(column)}`;
    const same = table.keys.map((name, at) => sql`${sql.identifier(name)} = ${key[at]}`);
    const result = await this.database.execute(sql`
      update ${sql.identifier(table.name)} set ${sql.identifier(column)} = ${value}
      where ${sql.join(same, sql` and `)} and ${present} = ${sealed}`);
    return (result.rowCount ?? 0) > 0;
  }
}

const FORM = /^eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/;
