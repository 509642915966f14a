/** Date-times on the wire (contract 1.3): ISO-8601, microseconds, `Z`; the fraction left out when it is zero. */

/** Formats a time with the six fraction digits that Python clients expect. */
export function wireDate(date: Date): string {
  const iso = date.toISOString();
  const milliseconds = iso.slice(20, 23);
  const seconds = iso.slice(0, 19);
  return milliseconds === '000' ? `${seconds}Z` : `${seconds}.${milliseconds}000Z`;
}

const ISO = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i;

/**
 * Reads what clients send as a time: ISO-8601 with or without zone (none means UTC), or Unix seconds.
 * @returns null when the text is neither.
 */
export function parseWireDate(text: string): Date | null {
  const trimmed = text.trim();
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) return finite(new Date(Number(trimmed) * 1000));
  const match = ISO.exec(trimmed);
  if (!match) return null;
  const [, day, time = '00:00:00', zone = 'Z'] = match;
  const fullZone = /^[+-]\d{4}$/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone.toUpperCase();
  return finite(new Date(`${day ?? ''}T${time}${fullZone}`));
}

const finite = (date: Date): Date | null => (Number.isNaN(date.getTime()) ? null : date);
