import { describe, expect, it } from 'vitest';
import { KeptSkills } from '../../../activities/kept-skills.js';
import { skillPayload } from '../../../contract/skill.js';

const skills = [skillPayload({ name: 'greet', content: 'Say hello.', triggers: [] })];

describe('skills that a sandbox has loaded while it was kept warm', () => {
  it('are taken once, by its own start', () => {
    const kept = new KeptSkills();
    kept.keep('one', skills);
    expect(kept.take('another')).toBeNull();
    expect(kept.has('one')).toBe(true);
    expect(kept.take('one')).toEqual(skills);
    expect(kept.has('one')).toBe(false);
    expect(kept.take('one')).toBeNull();
  });

  it('are asked for again when there were none, or when they are older than a warm sandbox gets', () => {
    let now = 0;
    const kept = new KeptSkills(() => now);
    kept.keep('none', []);
    expect(kept.take('none')).toBeNull();
    kept.keep('old', skills);
    now = 4 * 3_600_000;
    expect(kept.has('old')).toBe(false);
    expect(kept.take('old')).toBeNull();
  });

  it('are kept of a hundred sandboxes, the newest', () => {
    const kept = new KeptSkills();
    for (let n = 1; n <= 103; n++) kept.keep(`sandbox ${n}`, skills);
    expect([3, 4, 103].map((n) => kept.has(`sandbox ${n}`))).toEqual([false, true, true]);
  });
});
