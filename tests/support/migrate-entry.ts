/** A process of its own that migrates the database of its argument, for tests of several at once. */
import { migrateDatabase } from '../../db/migrate.js';

await migrateDatabase(process.argv[2]!);
