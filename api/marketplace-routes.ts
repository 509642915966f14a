import pLimit from 'p-limit';
import { z } from 'zod';
import { readSkill } from '../config/server-skills.js';
import { isRevision } from '../contract/git-names.js';
import { Marketplace } from '../contract/settings.js';
import { InvalidRepository } from '../git-providers/host-address.js';
import { marketplaceAddress } from '../git-providers/marketplace-source.js';
import { RepositoryUnreadable, type RepositoryQuestion } from '../git-providers/repository-reader.js';
import type { UserContext } from '../identity/user-context.js';
import { route, type RouteDefinition } from './route.js';
import { SkillInfo, skillInfo } from './skill-routes.js';

export interface MarketplaceRouteDeps {
  /** Text files of a repository by path. @throws {RepositoryUnreadable} */
  read: (question: RepositoryQuestion) => Promise<ReadonlyMap<string, string>>;
}

/** Most marketplaces of one request, and repositories fetched at a time by one process. */
const MOST = 10;
const AT_A_TIME = 2;

const MANIFESTS = ['.plugin/marketplace.json', '.claude-plugin/marketplace.json'];
const SKILLS = ['skills', '.skills'];

/** As much of a manifest as is shown. */
const Manifest = z.looseObject({
  plugins: z.array(z.looseObject({ name: z.string(), description: z.string().nullish() })).default([]),
  skills: z.array(z.looseObject({ name: z.string() })).default([]),
});

const Plugin = z.object({
  name: z.string(),
  description: z.string().nullable(),
  source: z.string(),
  marketplace: z.string(),
});
interface Preview {
  skills: SkillInfo[];
  plugins: z.infer<typeof Plugin>[];
}

/** Looks into marketplaces before they are added (contract 11.3); they are fetched anew each time. */
export function marketplaceRoutes(deps: MarketplaceRouteDeps): RouteDefinition[] {
  const limit = pLimit(AT_A_TIME);
  return [
    route({
      method: 'post',
      path: '/api/v1/skills/marketplace-skills',
      summary: 'List what marketplaces offer: plugins and skills',
      tag: 'Choices',
      guard: 'user',
      body: z.array(Marketplace).max(MOST),
      responses: {
        200: {
          description: 'What was found; each that could not be read has its reason in `errors`.',
          schema: z.object({
            skills: z.array(SkillInfo),
            plugins: z.array(Plugin),
            marketplace_skills: z.record(z.string(), z.array(z.string())),
            errors: z.array(z.string()),
          }),
        },
      },
      async handle({ body, user }) {
        const looked = await Promise.all(
          body.map((marketplace) => limit(() => look(deps, user, marketplace).catch(refusal))),
        );
        const errors: string[] = [];
        const all: Preview = { skills: [], plugins: [] };
        const names: [string, string[]][] = [];
        for (const [place, found] of looked.entries()) {
          const name = body[place]?.name ?? '';
          if (typeof found === 'string') {
            errors.push(`${name}: ${found}`);
            continue;
          }
          all.skills.push(...found.skills);
          all.plugins.push(...found.plugins);
          names.push([name, found.skills.map((skill) => skill.name)]);
        }
        return { ...all, marketplace_skills: Object.fromEntries(names), errors };
      },
    }),
  ];
}

/** The reason why a marketplace cannot be read. */
function refusal(error: unknown): string {
  if (error instanceof RepositoryUnreadable || error instanceof InvalidRepository) return error.message;
  throw error;
}

async function look(
  { read }: MarketplaceRouteDeps,
  user: UserContext,
  marketplace: z.output<typeof Marketplace>,
): Promise<Preview> {
  const { source, ref } = marketplace;
  if (ref !== null && !isRevision(ref)) {
    throw new RepositoryUnreadable('ref is no branch, tag or commit.');
  }
  const { url, credentials } = await marketplaceAddress(source, user.tokens);
  const base = (marketplace.repo_path ?? '').split('/').filter((part) => part !== '' && part !== '.');
  const within = (path: string) => [...base, path].join('/');
  const question = { url, ref, paths: [...MANIFESTS, ...SKILLS].map(within) };
  const files = await read({ ...question, credentials }).catch((error: unknown) => {
    // A token that is no longer good must not hide what everybody may read.
    if (credentials === null || !(error instanceof RepositoryUnreadable)) throw error;
    return read({ ...question, credentials: null });
  });
  const manifest = MANIFESTS.map((path) => files.get(within(path))).find((text) => text !== undefined);
  return manifest === undefined ? looseSkills(files, marketplace.name) : declared(manifest, marketplace);
}

/** A marketplace says itself what it offers; the skills within its plugins are the plugins' own affair. */
function declared(text: string, { name: marketplace, source }: { name: string; source: string }): Preview {
  const { data } = Manifest.safeParse(parsed(text));
  if (!data) throw new RepositoryUnreadable('invalid marketplace manifest');
  return {
    plugins: data.plugins.map(({ name, description }) => ({
      name,
      description: description ?? null,
      source,
      marketplace,
    })),
    skills: data.skills.map(({ name }) => ({
      name,
      type: 'knowledge',
      source: `marketplace:${marketplace}`,
      triggers: null,
    })),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A repository of skills without a manifest: one skill for each markdown file, as in the directories of this server. */
function looseSkills(files: ReadonlyMap<string, string>, marketplace: string): Preview {
  const skills = [...files].flatMap(([path, text]) => {
    const parts = path.split('/');
    const file = parts.at(-1) ?? '';
    if (!file.endsWith('.md') || file === 'README.md') return [];
    const skill = readSkill(text, file === 'SKILL.md' ? (parts.at(-2) ?? '') : file.slice(0, -'.md'.length));
    return 'reason' in skill ? [] : [{ ...skillInfo(skill), source: `marketplace:${marketplace}` }];
  });
  return { plugins: [], skills: skills.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}
