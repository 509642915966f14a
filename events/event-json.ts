/** Reading a batch of events element by element, without holding up everything else while it is large. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** The text is not JSON; `offset` is where this was noticed, in bytes. */
export class JsonSyntaxError extends Error {
  constructor(readonly offset: number) {
    super('JSON decode error');
    this.name = 'JsonSyntaxError';
  }
}

export interface JsonElement {
  /** Exactly as it was sent. */
  text: string;
  value: unknown;
}

/** Bytes handled before others get a turn: about two milliseconds of work. */
const TURN_BYTES = 256 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);
const CLOSING_BRACKET = 0x5d;
const WHITE = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * The elements of a JSON array.
 * @returns null when the text is JSON, but not an array.
 * @throws {JsonSyntaxError}
 */
export async function readJsonArray(bytes: Buffer): Promise<JsonElement[] | null> {
  const start = skipWhite(bytes, 0);
  if (bytes[start] !== 0x5b) {
    parse(bytes, 0, bytes.length);
    return null;
  }
  const elements: JsonElement[] = [];
  let turn = TURN_BYTES;
  let position = skipWhite(bytes, start + 1);
  const empty = bytes[position] === CLOSING_BRACKET;
  while (!empty) {
    const end = endOfElement(bytes, position);
    elements.push(parse(bytes, position, end));
    if (end >= turn) {
      await nextTurn();
      turn = end + TURN_BYTES;
    }
    position = end;
    if (bytes[position] === CLOSING_BRACKET) break;
    position = skipWhite(bytes, position + 1); // the only other end of an element is a comma
  }
  const after = skipWhite(bytes, position + 1);
  if (after < bytes.length) throw new JsonSyntaxError(after);
  return elements;
}

/**
 * A body that is one value; undefined when it is empty.
 * @throws {JsonSyntaxError}
 */
export async function readJsonValue(bytes: Buffer): Promise<unknown> {
  return bytes.length === 0 ? undefined : parse(bytes, 0, bytes.length).value;
}

/** Where the element that begins at `position` ends: at the comma or bracket after it. Its inside is checked by `parse`. */
function endOfElement(bytes: Buffer, position: number): number {
  let depth = 0;
  let at = position;
  while (at < bytes.length) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) {
      at = endOfString(bytes, at);
      continue;
    }
    if (OPENING.has(byte)) depth++;
    else if (depth === 0 && (byte === COMMA || byte === CLOSING_BRACKET)) return at;
    else if (CLOSING.has(byte)) depth--;
    at++;
  }
  throw new JsonSyntaxError(bytes.length);
}

/** Just behind the closing quote of the string that begins at `position`. */
function endOfString(bytes: Buffer, position: number): number {
  for (let at = position + 1; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) return at + 1;
  }
  throw new JsonSyntaxError(bytes.length);
}

function skipWhite(bytes: Buffer, position: number): number {
  let at = position;
  while (WHITE.has(bytes[at] as number)) at++;
  return at;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parse(bytes: Buffer, from: number, to: number): JsonElement {
  let end = to;
  while (end > from && WHITE.has(bytes[end - 1] as number)) end--;
  try {
    const text = utf8.decode(bytes.subarray(from, end));
    return { text, value: JSON.parse(text) };
  } catch (error) {
    throw Object.assign(new JsonSyntaxError(from), { cause: error });
  }
}
