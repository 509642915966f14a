/** The part of a user's settings that shapes a start (contract 10.1), read leniently: what is odd counts as not set. */
import { z } from 'zod';

const text = z
  .string()
  .trim()
  .min(1)
  .nullish()
  .catch(null)
  .transform((value) => value ?? null);
const members = z.record(z.string(), z.unknown());
const openObject = members
  .nullish()
  .catch(null)
  .transform((value) => value ?? {});
const names = z
  .array(z.string())
  .nullish()
  .catch(null)
  .transform((value) => value ?? []);
const registrations = z
  .array(members)
  .nullish()
  .catch(null)
  .transform((value) => value ?? []);

const conversationSettings = z.object({
  max_iterations: z.int().min(1).catch(500).default(500),
  confirmation_mode: z.boolean().catch(false).default(false),
  security_analyzer: z.string().nullable().catch('llm').default('llm'),
});

export const StartSettings = z.object({
  git_user_name: text,
  git_user_email: text,
  git_full_clone: z
    .boolean()
    .nullish()
    .catch(null)
    .transform((value) => value ?? false),
  disabled_skills: names,
  email: text,
  sandbox_grouping_strategy: z
    .string()
    .nullish()
    .catch(null)
    .transform((value) => value ?? 'NO_GROUPING'),
  agent_settings: openObject,
  conversation_settings: conversationSettings
    .nullish()
    .catch(null)
    .transform((value) => value ?? conversationSettings.parse({})),
  llm_profiles: z
    .object({
      profiles: z
        .record(z.string(), members)
        .nullish()
        .catch(null)
        .transform((value) => value ?? {}),
    })
    .nullish()
    .catch(null)
    .transform((value) => value ?? { profiles: {} }),
  registered_marketplaces: registrations,
  inherited_marketplaces: registrations,
});
export type StartSettings = z.output<typeof StartSettings>;

/** Every text below a member that is named like a secret: what must not appear in any message. */
export function secretTexts(value: unknown, isSecret: (name: string) => boolean, inside = false): string[] {
  if (typeof value === 'string') return inside ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    secretTexts(member, isSecret, inside || isSecret(name)),
  );
}
