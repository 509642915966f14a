import { z } from 'zod';
import { pageOf, PageLimit } from '../contract/primitives.js';
import type { SkillPayload } from '../contract/skill.js';
import type { UserContext } from '../identity/user-context.js';
import { route, type RouteDefinition } from './route.js';
import type { SkillShelf } from './skill-shelf.js';

export interface SkillRouteDeps {
  skills: SkillShelf;
  /** Directories of skills: those for everybody, and those of the one person whose machine this is. */
  directories: { global: readonly string[]; user: readonly string[] };
}

export const SkillInfo = z.object({
  name: z.string(),
  type: z.enum(['knowledge', 'repo', 'task']),
  source: z.string(),
  triggers: z.array(z.string()).nullable(),
});
export type SkillInfo = z.infer<typeof SkillInfo>;

/** Skills that this server gives to conversations (contract 11.3); those that a user has turned off are among them. */
export const skillRoutes = ({ skills, directories }: SkillRouteDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/skills/search',
    summary: 'List the skills of this server',
    tag: 'Choices',
    guard: 'user',
    query: z.object({ page_id: z.string().optional(), limit: PageLimit }),
    responses: { 200: { description: 'A page of skills, by source and name.', schema: pageOf(SkillInfo) } },
    async handle({ query: { page_id: after, limit }, user }) {
      const [global, own] = await Promise.all([
        listed(skills, directories.global, 'global'),
        listed(skills, isAlone(user) ? directories.user : [], 'user'),
      ]);
      const all = [...global, ...own].sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
      const rest = after === undefined ? all : all.filter((skill) => placeOf(skill) > after);
      const items = rest.slice(0, limit);
      const last = items.at(-1);
      return { items, next_page_id: rest.length > items.length && last ? placeOf(last) : null };
    },
  }),
];

/** Where nobody signs in, the directories of the one who runs the server are the user's. */
const isAlone = ({ userId }: UserContext): boolean => userId === null;

const placeOf = ({ source, name }: SkillInfo): string => `${source}/${name}`;

async function listed(
  shelf: SkillShelf,
  directories: readonly string[],
  source: string,
): Promise<SkillInfo[]> {
  const found = (await Promise.all(directories.map(shelf))).flat();
  // Of skills with one name the last one counts, as in a start.
  return [...new Map(found.map((skill) => [skill.name, skill])).values()].map((skill) => ({
    ...skillInfo(skill),
    source,
  }));
}

/** What a list shows of a skill. */
export function skillInfo({ name, trigger }: SkillPayload): Omit<SkillInfo, 'source'> {
  if (trigger === null) return { name, type: 'repo', triggers: null };
  return trigger.type === 'task'
    ? { name, type: 'task', triggers: trigger.triggers }
    : { name, type: 'knowledge', triggers: trigger.keywords };
}
