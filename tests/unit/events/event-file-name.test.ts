import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventFileName, timestampOfFileName } from '../../../events/event-file-name.js';

const timestamp = '2026-11-21T23:30:25.891445Z';

describe('the name of an event file', () => {
  it('is time, kind and id', () => {
    expect(
      eventFileName({ id: '4cc4d6ca-bc9b-4e5e-a37d-b1d68703e57b', kind: 'MessageEvent', timestamp }),
    ).toBe('20261121T233025891445_MessageEvent_4cc4d6ca-bc9b-4e5e-a37d-b1d68703e57b');
  });

  it('is safe whatever the id and the kind are, and leads nowhere else', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.string({ minLength: 1 }), (id, kind) => {
        expect(eventFileName({ id, kind, timestamp })).toMatch(
          /^\d{8}T\d{12}_[0-9A-Za-z-]+_[0-9A-Za-z~-]{1,200}$/,
        );
      }),
    );
    expect(eventFileName({ id: '../../etc/passwd', kind: '..', timestamp })).not.toMatch(/[./\\]/);
  });

  it('differs for different ids, letters of either case included', () => {
    const name = (id: string) => eventFileName({ id, kind: 'K', timestamp }).toLowerCase();
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (a, b) => {
        expect(name(a) === name(b)).toBe(a === b);
      }),
    );
    expect(name('a/b')).not.toBe(name('a-b'));
    expect(name('ABC')).not.toBe(name('abc'));
  });

  it('tells the time of an event that has none of its own', () => {
    expect(timestampOfFileName(eventFileName({ id: 'x', kind: 'K', timestamp }))).toBe(timestamp);
    expect(timestampOfFileName('notes.txt')).toBeNull();
  });
});
