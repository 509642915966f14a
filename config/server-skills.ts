/** Skills that this server gives to every conversation: markdown files of one directory. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { skillPayload, type SkillPayload } from '../contract/skill.js';
import { yaml } from '../contract/yaml.js';

const FrontMatter = z.object({
  name: z.string().trim().min(1).optional(),
  triggers: z
    .union([z.array(z.string()), z.string().transform((one) => [one])])
    .nullish()
    .transform((triggers) => triggers ?? []),
  description: z.string().nullish(),
});

/** A file that cannot be used; the others are. */
export interface RefusedSkill {
  file: string;
  reason: string;
}

/**
 * Reads all `*.md` of a directory and all `<name>/SKILL.md` in it; a directory that is not there has no skills.
 * The name is that of the front matter, else that of the file or its directory.
 */
export async function readServerSkills(
  directory: string,
): Promise<{ skills: SkillPayload[]; refused: RefusedSkill[] }> {
  const skills: SkillPayload[] = [];
  const refused: RefusedSkill[] = [];
  for (const file of await skillFiles(directory)) {
    const text = await readText(join(directory, file));
    if (text === null) continue;
    const fallback = file.endsWith('/SKILL.md')
      ? basename(file.slice(0, -'/SKILL.md'.length))
      : basename(file, '.md');
    const skill = readSkill(text, fallback);
    if ('reason' in skill) refused.push({ file, reason: skill.reason });
    else skills.push(skill);
  }
  return { skills, refused };
}

async function skillFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return entries
    .flatMap((entry) => {
      if (entry.name.startsWith('.')) return [];
      if (entry.isDirectory()) return [`${entry.name}/SKILL.md`];
      return entry.name.endsWith('.md') && entry.name !== 'README.md' ? [entry.name] : [];
    })
    .sort();
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');

/** Reads one skill: YAML between two lines of dashes, then markdown. Without front matter it is always active. */
export function readSkill(text: string, fallbackName: string): SkillPayload | { reason: string } {
  const normalized = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const match = /^---[ \t]*\n((?:[\s\S]*?\n)?)---[ \t]*(?:\n|$)([\s\S]*)$/.exec(normalized);
  const content = (match?.[2] ?? normalized).trim();
  let header: unknown;
  try {
    header = match ? (yaml().parse(match[1] ?? '') ?? {}) : {};
  } catch (error) {
    if (!(error instanceof yaml().YAMLParseError)) throw error;
    return { reason: `its front matter is not YAML: ${error.message.split('\n')[0] ?? ''}` };
  }
  const parsed = FrontMatter.safeParse(header);
  if (!parsed.success) return { reason: `its front matter is wrong: ${z.prettifyError(parsed.error)}` };
  if (content === '') return { reason: 'it is empty' };
  const { name, triggers, description } = parsed.data;
  return skillPayload({
    name: name ?? fallbackName,
    content,
    triggers,
    source: null,
    description: description ?? null,
  });
}
