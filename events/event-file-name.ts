/** Names of event files: sortable by time, safe on every file system, and different for different events. */
import { createHash } from 'node:crypto';
import type { EventTimestamp } from './event-timestamp.js';

/** What may stand in a name unchanged. An upper-case id is not among it: some file systems do not tell cases apart. */
const PLAIN_ID = /^[0-9a-z][0-9a-z-]{0,63}$/;
const LONGEST_KIND = 64;
const LONGEST_CLEANED_ID = 40;

/** `<YYYYMMDDTHHMMSSffffff>_<kind>_<event id>`; an id that is not plain is cleaned and gets a hash to tell it apart. */
export function eventFileName(event: { id: string; kind: string; timestamp: EventTimestamp }): string {
  const time = event.timestamp.replaceAll(/[-:.Z]/g, '');
  const kind = cleaned(event.kind, LONGEST_KIND);
  return `${time}_${kind}_${PLAIN_ID.test(event.id) ? event.id : hashedId(event.id)}`;
}

/** The time in a file's name, for an event that has none of its own; null when it is no name of ours. */
export function timestampOfFileName(name: string): EventTimestamp | null {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(\d{6})_[^_]+_.+$/.exec(name);
  if (!match) return null;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '', micros = ''] = match;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}.${micros}Z`;
}

/** The event's id in a file's name; null where the name holds only a hash of it, or is no name of ours. */
export function idOfFileName(name: string): string | null {
  const id = /^\d{8}T\d{12}_[^_]+_(.+)$/.exec(name)?.[1];
  return id !== undefined && PLAIN_ID.test(id) ? id : null;
}

/** `~` is in no plain id, so that no id can be chosen to collide with another's hash. */
const hashedId = (id: string): string =>
  `${cleaned(id, LONGEST_CLEANED_ID)}~${createHash('sha256').update(id).digest('hex').slice(0, 32)}`;

const cleaned = (text: string, longest: number): string =>
  text.replaceAll(/[^0-9A-Za-z-]/g, '-').slice(0, longest);
