import { isSecretName } from '../../contract/masking.js';

/** Maps whose every value is a secret, whatever its name. */
const SECRET_MAPS = new Set(['env', 'headers', 'extra_headers', 'auth']);

/** Every text of a settings object that no message may show: what is named like a secret, and all below that. */
export function secretTexts(value: unknown, inSecret = false): string[] {
  if (typeof value === 'string') return inSecret ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    secretTexts(member, inSecret || SECRET_MAPS.has(name) || isSecretName(name)),
  );
}
