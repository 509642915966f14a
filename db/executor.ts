import type { Database } from './database.js';

/** Where a statement can run: the database itself, or a transaction in progress. */
export type Executor = Pick<Database, 'select' | 'insert' | 'update' | 'delete' | 'execute'>;
