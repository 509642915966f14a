/** What of a refused input may be repeated to the client. */
import { isSecretName, MASK } from '../contract/masking.js';

/** Longest text and largest object that is repeated whole, in characters of JSON. */
const LONGEST_TEXT = 500;
const LARGEST_OBJECT = 4_000;

/** Members whose contents are secrets by their nature, whatever they are called inside. */
const SECRET_MAPS = new Set(['env', 'headers', 'extra_headers', 'secrets', 'provider_tokens']);

/**
 * A copy of a refused value that holds no secret.
 * @param path where it stood: a value under a secret's name is masked whole
 */
export function echoed(value: unknown, path: readonly PropertyKey[]): unknown {
  const names = path.filter((part) => typeof part === 'string');
  const secret =
    names.some((name) => isSecretName(name) || SECRET_MAPS.has(name)) || names.at(-1) === 'value';
  const copy = secret ? masked(value) : redacted(value);
  if (typeof copy !== 'object' || copy === null) return copy;
  return JSON.stringify(copy).length > LARGEST_OBJECT ? (Array.isArray(copy) ? [] : {}) : copy;
}

function redacted(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT)}…` : value;
  }
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      isSecretName(name) || name === 'value' || SECRET_MAPS.has(name) ? masked(member) : redacted(member),
    ]),
  );
}

function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, masked(member)]));
  }
  return value === null || typeof value === 'boolean' ? value : MASK;
}
