import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readServerSkills, readSkill } from '../../../config/server-skills.js';
import { mergeSkills, skillPayload } from '../../../contract/skill.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'callboard-skills-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a skill of the server', () => {
  it('is markdown with its name and triggers in front', () => {
    expect(
      readSkill('---\nname: deploy\ntriggers:\n  - ship it\n---\nRun `make ship`.\n', 'file'),
    ).toMatchObject({
      name: 'deploy',
      content: 'Run `make ship`.',
      trigger: { type: 'keyword', keywords: ['ship it'] },
    });
  });

  it('is always active, and called like its file, without front matter', () => {
    expect(readSkill('Be polite.', 'manners')).toMatchObject({
      name: 'manners',
      content: 'Be polite.',
      trigger: null,
    });
  });

  it('may have one trigger, an empty header, Windows line ends and rules of dashes in its text', () => {
    expect(readSkill('---\r\ntriggers: deploy\r\n---\r\nA\r\n---\r\nB', 'x')).toMatchObject({
      content: 'A\n---\nB',
      trigger: { keywords: ['deploy'] },
    });
    expect(readSkill('---\n---\nText', 'x')).toMatchObject({ content: 'Text', trigger: null });
  });

  it('with a command among its triggers is a task', () => {
    expect(skillPayload({ name: 'r', content: 'c', triggers: ['/review'] }).trigger).toEqual({
      type: 'task',
      triggers: ['/review'],
    });
  });

  it('that cannot be read is named with the reason, and the others are used', async () => {
    await writeFile(join(directory, 'good.md'), 'Good.');
    await writeFile(join(directory, 'broken.md'), '---\nname: [\n---\nText');
    await writeFile(join(directory, 'wrong.md'), '---\nname: 7\n---\nText');
    await writeFile(join(directory, 'empty.md'), '---\nname: empty\n---\n');
    await writeFile(join(directory, 'notes.txt'), 'no skill');
    await mkdir(join(directory, 'folder'));
    await writeFile(join(directory, 'folder', 'SKILL.md'), '---\ndescription: d\n---\nInside.');
    await mkdir(join(directory, 'nothing'));
    const { skills, refused } = await readServerSkills(directory);
    expect(skills.map(({ name }) => name)).toEqual(['folder', 'good']);
    expect(refused.map(({ file }) => file).sort()).toEqual(['broken.md', 'empty.md', 'wrong.md']);
  });

  it('need not exist at all', async () => {
    expect(await readServerSkills(join(directory, 'missing'))).toEqual({ skills: [], refused: [] });
  });

  it('gives way to one of the project with its name, and goes when the user has turned it off', () => {
    const skill = (name: string, content: string) => skillPayload({ name, content, triggers: [] });
    const merged = mergeSkills(
      [[skill('a', 'server'), skill('b', 'server')], [skill('a', 'project')]],
      ['b'],
    );
    expect(merged.map(({ name, content }) => [name, content])).toEqual([['a', 'project']]);
  });
});
