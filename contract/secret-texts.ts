import { isSecretName } from './masking.js';

/** Maps whose every value is a secret, whatever its name. */
const SECRET_MAPS = new Set(['env', 'headers', 'extra_headers', 'auth', 'secrets']);

/** Words of a command line such as `--api-key=…`, and such as `--api-key` before its value. */
const OPTION = /^--?([\w-]+)(?:=(.*))?$/s;

/**
 * Every text of a settings object that nothing may show: what is named like a secret and all below that, keys and
 * passwords within addresses, and values of options that are named like a secret.
 */
export function secretTexts(value: unknown, inSecret = false): string[] {
  if (typeof value === 'string') return inSecret ? [value] : secretsOfAddress(value);
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => [
      ...secretTexts(item, inSecret),
      ...secretOfOption(item, value[index + 1]),
    ]);
  }
  return Object.entries(value).flatMap(([name, member]) =>
    secretTexts(member, inSecret || SECRET_MAPS.has(name) || isSecretName(name)),
  );
}

function secretOfOption(word: unknown, next: unknown): string[] {
  const [, name, value] = (typeof word === 'string' && OPTION.exec(word)) || [];
  if (name === undefined || !isSecretName(name)) return [];
  if (value !== undefined) return [value];
  return typeof next === 'string' ? [next] : [];
}

/** Addresses of hosted services carry a password, or keys in their query. */
function secretsOfAddress(text: string): string[] {
  if (!text.includes('://') || !URL.canParse(text)) return [];
  const { password, searchParams } = new URL(text);
  const keys = [...searchParams].flatMap(([name, value]) => (isSecretName(name) ? [value] : []));
  return [...(password === '' ? [] : [decoded(password)]), ...keys];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (err) {
    if (err instanceof URIError) return text;
    throw err;
  }
}
