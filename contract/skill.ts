/** Skills in the form in which a start hands them to the agent. */

/** How a skill is brought into a conversation; none means that it is there from the beginning. */
export type SkillTrigger = { type: 'keyword'; keywords: string[] } | { type: 'task'; triggers: string[] };

export interface SkillPayload {
  name: string;
  content: string;
  trigger: SkillTrigger | null;
  source: string | null;
  description: string | null;
  is_agentskills_format: boolean;
  disable_model_invocation: boolean;
}

export interface SkillSource {
  name: string;
  content: string;
  triggers: readonly string[];
  source?: string | null;
  description?: string | null;
  is_agentskills_format?: boolean;
  disable_model_invocation?: boolean;
}

/** A skill with a command (`/review`) among its triggers is a task; the others are called by words. */
export function skillPayload(skill: SkillSource): SkillPayload {
  const triggers = skill.triggers.filter((trigger) => trigger.trim() !== '');
  return {
    name: skill.name,
    content: skill.content,
    trigger: triggers.length === 0 ? null : triggerOf(triggers),
    source: skill.source ?? null,
    description: skill.description ?? null,
    is_agentskills_format: skill.is_agentskills_format ?? false,
    disable_model_invocation: skill.disable_model_invocation ?? false,
  };
}

const triggerOf = (triggers: string[]): SkillTrigger =>
  triggers.some((trigger) => trigger.startsWith('/'))
    ? { type: 'task', triggers }
    : { type: 'keyword', keywords: triggers };

/** Of skills with one name the last one counts; those that the user has turned off are left out. */
export function mergeSkills(
  sources: readonly (readonly SkillPayload[])[],
  disabled: readonly string[],
): SkillPayload[] {
  const off = new Set(disabled);
  const byName = new Map(sources.flat().map((skill) => [skill.name, skill]));
  return [...byName.values()].filter(({ name }) => !off.has(name));
}
