import { describe, expect, it } from 'vitest';
import { PublicSkills } from '../../../activities/public-skills.js';
import { skillPayload } from '../../../contract/skill.js';

const skills = [skillPayload({ name: 'greet', content: 'Say hello.', triggers: [] })];

describe('skills that a sandbox has loaded while it was kept warm', () => {
  it('are taken once, by its own start', () => {
    const kept = new PublicSkills();
    kept.keep('one', skills);
    expect(kept.take('another')).toBeNull();
    expect(kept.has('one')).toBe(true);
    expect(kept.take('one')).toEqual(skills);
    expect(kept.has('one')).toBe(false);
    expect(kept.take('one')).toBeNull();
  });

  it('are asked for again when there were none, or when they are older than a warm sandbox gets', () => {
    let now = 0;
    const kept = new PublicSkills(() => now);
    kept.keep('none', []);
    expect(kept.take('none')).toBeNull();
    kept.keep('old', skills);
    now = 4 * 3_600_000;
    expect(kept.has('old')).toBe(false);
    expect(kept.take('old')).toBeNull();
  });

  it('are done without for ten minutes when they did not come in time', () => {
    let now = 1_000;
    const known = new PublicSkills(() => now);
    expect(known.areOutOfReach()).toBe(false);
    known.missed();
    now += 10 * 60_000 - 1;
    expect(known.areOutOfReach()).toBe(true);
    now += 1;
    expect(known.areOutOfReach()).toBe(false);
  });

  it('are kept of as many sandboxes as are warm at a time, the newest', () => {
    const kept = new PublicSkills();
    for (let n = 1; n <= 35; n++) kept.keep(`sandbox ${n}`, skills);
    expect([3, 4, 35].map((n) => kept.has(`sandbox ${n}`))).toEqual([false, true, true]);
  });

  it('of a sandbox that nobody took are forgotten when those of another come', () => {
    let now = 0;
    const kept = new PublicSkills(() => now);
    kept.keep('old', skills);
    now = 4 * 3_600_000;
    kept.keep('new', skills);
    now = 0; // as if it had not passed: what is still held would be found
    expect(kept.has('old')).toBe(false);
    expect(kept.has('new')).toBe(true);
  });
});
