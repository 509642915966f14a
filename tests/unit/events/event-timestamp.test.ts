import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  dateOf,
  eventTimestampOf,
  isEventTimestamp,
  parseEventTimestamp,
} from '../../../events/event-timestamp.js';

describe('the time of an event', () => {
  it.each([
    ['2026-11-21T23:30:25.891445', '2026-11-21T23:30:25.891445Z'],
    ['2026-11-21T23:30:25.891445Z', '2026-11-21T23:30:25.891445Z'],
    ['2026-11-21 23:30:25', '2026-11-21T23:30:25.000000Z'],
    ['2026-11-21T23:30', '2026-11-21T23:30:00.000000Z'],
    ['2026-11-21', '2026-11-21T00:00:00.000000Z'],
    ['2026-11-21T23:30:25.1', '2026-11-21T23:30:25.100000Z'],
    ['2026-11-21T23:30:25.123456789', '2026-11-21T23:30:25.123456Z'],
    ['2026-11-21T23:30:25.891445+05:30', '2026-11-21T18:00:25.891445Z'],
    ['2026-11-21T23:30:25.891445-0130', '2026-11-22T01:00:25.891445Z'],
    ['2026-11-21T23:30:25+02', '2026-11-21T21:30:25.000000Z'],
    ['0', '1970-01-01T00:00:00.000000Z'],
    ['1795303825.891445', '2026-11-21T23:30:25.891445Z'],
    ['-0.25', '1969-12-31T23:59:59.750000Z'],
  ])('%s is read as %s (D32)', (text, expected) => {
    expect(parseEventTimestamp(text)).toBe(expected);
  });

  it.each([
    '',
    'yesterday',
    '2026-02-30',
    '2026-13-01',
    '2026-01-01T24:00:00',
    '2026-01-01T10:61',
    '0000-01-01',
  ])('%j is no time', (text) => {
    expect(parseEventTimestamp(text)).toBeNull();
  });

  it('sorts as text as it does as time, and is its own canonical form', () => {
    const times = fc.date({ min: new Date('0001-01-02'), max: new Date('9999-12-30'), noInvalidDate: true });
    fc.assert(
      fc.property(times, times, (a, b) => {
        const [first, second] = [eventTimestampOf(a), eventTimestampOf(b)];
        expect(first < second).toBe(a < b);
        expect(isEventTimestamp(first)).toBe(true);
        expect(dateOf(first)).toEqual(a);
      }),
    );
  });
});
