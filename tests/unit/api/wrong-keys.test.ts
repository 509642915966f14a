import { describe, expect, it } from 'vitest';
import { HttpError } from '../../../api/http-error.js';
import { WrongKeys } from '../../../api/wrong-keys.js';

const MINUTE_MS = 60_000;
const REFUSAL = new HttpError(401, 'Unauthorized');
const from = (address: string) => ({ headers: {}, socket: { remoteAddress: address } });
const statusOf = (error: Error) => (error instanceof HttpError ? error.status : null);

describe('an address with too many wrong keys', () => {
  it('is let in again after a minute, whatever it has tried meanwhile (D38)', () => {
    let now = 0;
    const wrong = new WrongKeys(2, () => now);
    const note = () => statusOf(wrong.note(from('192.0.2.1'), REFUSAL));
    expect([note(), note(), note(), note()]).toEqual([401, 401, 429, 429]);
    expect(() => wrong.admit(from('192.0.2.1'))).toThrow('Too many requests');
    expect(() => wrong.admit(from('192.0.2.2'))).not.toThrow();
    now = MINUTE_MS;
    expect(() => wrong.admit(from('192.0.2.1'))).not.toThrow();
    expect(note()).toBe(401);
  });

  it('is forgotten for those that came later, so that memory has an end (D38)', () => {
    const wrong = new WrongKeys(1, () => 0);
    wrong.note(from('192.0.2.1'), REFUSAL);
    for (let other = 0; other < 10_000; other++)
      wrong.note(from(`198.51.${other >> 8}.${other & 255}`), REFUSAL);
    expect(() => wrong.admit(from('192.0.2.1'))).not.toThrow();
    expect(() => wrong.admit(from('198.51.0.1'))).toThrow('Too many requests');
  });
});
