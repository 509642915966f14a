/** Times of events: the agent-server's own strings, read to the microsecond. */

/** A time as `YYYY-MM-DDTHH:MM:SS.ffffffZ`: sorts as text, and PostgreSQL reads it without loss. */
export type EventTimestamp = string;

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i;
const UNIX_SECONDS = /^(-?)(\d{1,12})(?:\.(\d+))?$/;
const CANONICAL = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;

/**
 * Reads ISO-8601 with or without zone (none means UTC), or Unix seconds; digits beyond the microsecond are cut off.
 * @returns null when the text is neither, or no such time exists.
 */
export function parseEventTimestamp(text: string): EventTimestamp | null {
  const trimmed = text.trim();
  return parseIso(trimmed) ?? parseUnixSeconds(trimmed);
}

/** True for what {@link parseEventTimestamp} returns. */
export const isEventTimestamp = (text: string): boolean =>
  CANONICAL.test(text) && parseEventTimestamp(text) === text;

/** The time of an event without a usable one of its own. */
export const eventTimestampOf = (date: Date): EventTimestamp => canonical(date, '');

/** The same time in milliseconds, for columns that keep no more. */
export const dateOf = (timestamp: EventTimestamp): Date => new Date(`${timestamp.slice(0, 23)}Z`);

function parseIso(text: string): EventTimestamp | null {
  const match = ISO.exec(text);
  if (!match) return null;
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = '', zone = 'Z'] = match;
  const local = new Date(`${year ?? ''}-${month ?? ''}-${day ?? ''}T${hour}:${minute}:${second}Z`);
  // The parser takes 30 February for 2 March; a time that does not read back does not exist.
  if (Number.isNaN(local.getTime()) || local.getUTCDate() !== Number(day) || hour === '24') return null;
  const offset = offsetMinutes(zone);
  return offset === null ? null : inRange(new Date(local.getTime() - offset * 60_000), fraction);
}

function parseUnixSeconds(text: string): EventTimestamp | null {
  const match = UNIX_SECONDS.exec(text);
  if (!match) return null;
  const [, sign, seconds, fraction = ''] = match;
  const micros = Number(fraction.padEnd(6, '0').slice(0, 6));
  if (sign !== '-' || micros === 0)
    return inRange(new Date(Number(`${sign ?? ''}${seconds ?? ''}`) * 1000), fraction);
  // Before 1970 the fraction counts backwards from the second.
  const forwards = String(1_000_000 - micros).padStart(6, '0');
  return inRange(new Date((-Number(seconds) - 1) * 1000), forwards);
}

function offsetMinutes(zone: string): number | null {
  if (zone.toUpperCase() === 'Z') return 0;
  const digits = zone.slice(1).replace(':', '').padEnd(4, '0');
  const hours = Number(digits.slice(0, 2));
  const minutes = Number(digits.slice(2));
  if (hours > 23 || minutes > 59) return null;
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

/** Years that both ISO-8601 and PostgreSQL write with four digits. */
function inRange(date: Date, fraction: string): EventTimestamp | null {
  const year = date.getUTCFullYear();
  return Number.isNaN(year) || year < 1 || year > 9999 ? null : canonical(date, fraction);
}

function canonical(date: Date, fraction: string): EventTimestamp {
  const iso = date.toISOString();
  const digits = fraction === '' ? iso.slice(20, 23) : fraction;
  return `${iso.slice(0, 19)}.${digits.padEnd(6, '0').slice(0, 6)}Z`;
}
