import { parseKeys } from '../../identity/keys.js';

/** The one master key of tests. Recorded histories are encrypted with it: it never changes. */
export const TEST_MASTER_SECRET = 'the master key of tests and of recorded histories';

export const TEST_KEYS = parseKeys(TEST_MASTER_SECRET, 'the tests');
