import type { SecretMasker } from '../contract/secret-masker.js';
import { readStartSecrets, secretsOfStart } from '../contract/start-secrets.js';
import { secretTexts } from '../contract/secret-texts.js';
import type { PlainListener } from './vault.js';

/** Kinds of sealed texts that are JSON objects: which of their members are secret, their names say. */
const OBJECTS = /^settings\//;
/** Sealed whole because they may hold secrets, not because they are one. */
const UNNAMED = /^start\/[^/]*\/artifact\//;

/**
 * Has a masker know every secret that passes through a vault, so that no log line and no error of this process shows
 * it, whatever it got into.
 */
export const rememberIn =
  (masker: Pick<SecretMasker, 'add'>): PlainListener =>
  (purpose, plain) => {
    if (UNNAMED.test(purpose)) return;
    for (const secret of secretsOfPlain(purpose, plain)) masker.add(secret);
  };

function secretsOfPlain(purpose: string, plain: string): string[] {
  if (OBJECTS.test(purpose)) return secretTexts(JSON.parse(plain));
  if (/^start\/[^/]*\/secrets$/.test(purpose)) return secretsOfStart(readStartSecrets(plain));
  return [plain];
}
