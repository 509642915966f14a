/** Taking secrets out of JSON texts without changing anything else in them. */
import { MASK } from './masking.js';
import type { SecretMasker } from './secret-masker.js';

/** Members of the outermost object that say what it is, not what is in it. */
const IDENTITY = new Set(['id', 'kind', 'timestamp', 'source', 'key']);

/** The signed tokens with which agents fetch git tokens: begin of their header, then the form of all. */
const TOKEN_HEADER = 'eyJhbGciOiJIUzI1NiIsImtpZCI6';
const TOKEN = /eyJhbGciOiJIUzI1NiIsImtpZCI6[\w-]+\.[\w-]+\.[\w-]{43}/g;

/**
 * A JSON text without the secrets that the maskers know, nor tokens signed by this installation; the very same text when
 * there are none in it. Only values that are strings are changed: names, numbers, order and spacing stay as they are.
 * @param json a valid JSON text
 */
export function maskJson(json: string, maskers: readonly Pick<SecretMasker, 'finds' | 'mask'>[]): string {
  const hasToken = json.includes(TOKEN_HEADER);
  const needed = maskers.filter((masker) => masker.finds(json));
  if (!hasToken && needed.length === 0) return json;
  const mask = (text: string) =>
    needed.reduce((masked, masker) => masker.mask(masked), hasToken ? text.replaceAll(TOKEN, MASK) : text);
  let result = '';
  let from = 0;
  for (const { start, end } of valueStrings(json)) {
    const text = JSON.parse(json.slice(start, end)) as string;
    const masked = mask(text);
    if (masked === text) continue;
    result += json.slice(from, start) + JSON.stringify(masked);
    from = end;
  }
  return result + json.slice(from);
}

interface Place {
  /** Of the opening quote. */
  start: number;
  /** After the closing quote. */
  end: number;
}

/** The strings of a JSON text that are values and do not identify the outermost object. */
function* valueStrings(json: string): Generator<Place> {
  let depth = 0;
  let name = '';
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    if (character !== '"') continue;
    const end = endOfString(json, at);
    if (isName(json, end)) {
      if (depth === 1) name = json.slice(at + 1, end - 1);
    } else if (depth !== 1 || !IDENTITY.has(name)) {
      yield { start: at, end };
    }
    at = end - 1;
  }
}

function endOfString(json: string, start: number): number {
  for (let at = start + 1; ; at++) {
    const next = json.indexOf('"', at);
    if (next < 0) return json.length;
    let backslashes = 0;
    while (json[next - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return next + 1;
    at = next;
  }
}

/** Whether a colon follows, which only names have. */
function isName(json: string, end: number): boolean {
  let at = end;
  while (/\s/.test(json[at] ?? '')) at++;
  return json[at] === ':';
}
