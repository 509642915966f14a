/** Instructions for agents that a repository brings along, as files with front matter. */
import { z } from 'zod';
import type { GitProvider } from '../contract/primitives.js';
import { yaml } from '../contract/yaml.js';

/** Folder of a repository's own instructions. */
const FOLDER = '.openhands/microagents';
/** A repository that holds the instructions of its whole owner has them here. */
const OWNERS_FOLDER = 'microagents';
/** What other tools leave for agents, at the root of a repository. */
export const CURSOR_RULES = '.cursorrules';

/** Where a repository keeps its microagents (contract 16.1). */
export function microagentFolder(provider: GitProvider, repository: string): string {
  const name = repository.split('/').at(-1);
  const isOwners = name === '.openhands' || (provider === 'gitlab' && name === 'openhands-config');
  return isOwners ? OWNERS_FOLDER : FOLDER;
}

/** Whether a file of that folder is one; the explanation beside them is not. */
export const isMicroagent = (fileName: string): boolean =>
  /\.md$/i.test(fileName) && fileName.toLowerCase() !== 'readme.md';

/** Name of a microagent: its path below the folder, without ending. */
export const microagentName = (path: string, folder: string): string =>
  path === CURSOR_RULES ? 'cursorrules' : path.slice(folder.length + 1).replace(/\.md$/i, '');

const FrontMatter = z.looseObject({
  triggers: z
    .union([z.array(z.coerce.string()), z.string().transform((one) => [one])])
    .nullish()
    .catch(null),
});

/** Splits a file into what the agent reads and the words that bring it up; a front matter that cannot be read has none. */
export function parseMicroagent(text: string): { content: string; triggers: string[] } {
  const [, matter, rest] =
    /^\uFEFF?---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n([\s\S]*))?$/.exec(text) ?? [];
  if (matter === undefined) return { content: text, triggers: [] };
  const parsed = FrontMatter.safeParse(yamlOf(matter));
  return { content: (rest ?? '').trim(), triggers: (parsed.success ? parsed.data.triggers : null) ?? [] };
}

function yamlOf(text: string): unknown {
  const { parse, YAMLError } = yaml();
  try {
    return parse(text, { maxAliasCount: 10 });
  } catch (error) {
    if (error instanceof YAMLError || error instanceof ReferenceError) return null;
    throw error;
  }
}

/** Whether a path stays inside of a repository. */
export const isRepositoryPath = (path: string): boolean =>
  path.length <= 1024 &&
  !/[\p{Cc}\\]/u.test(path) &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
