/** The skills in directories of this server, read now and then instead of at every request. */
import { readServerSkills } from '../config/server-skills.js';
import type { SkillPayload } from '../contract/skill.js';

/** How long what was read is taken for current, in milliseconds. */
const FRESH_FOR_MS = 10_000;

/** Skills of one directory; a directory that is not there has none. */
export type SkillShelf = (directory: string) => Promise<readonly SkillPayload[]>;

export function createSkillShelf(freshForMs = FRESH_FOR_MS): SkillShelf {
  const read = new Map<string, { skills: Promise<readonly SkillPayload[]>; until: number }>();
  return (directory) => {
    const now = performance.now();
    const known = read.get(directory);
    if (known && known.until > now) return known.skills;
    const skills = readServerSkills(directory).then((found) => found.skills);
    read.set(directory, { skills, until: now + freshForMs });
    // What could not be read is tried again by whoever asks next.
    skills.catch(() => read.delete(directory));
    return skills;
  };
}
