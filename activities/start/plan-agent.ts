/** The plan agent: it reads, thinks and writes one file. Names of tools and prompt are those of the SDK's planning preset. */
import type { GitProvider } from '../../contract/primitives.js';

/** Selects the SDK's built-in planning prompt. */
export const PLANNING_PROMPT = 'system_prompt_planning.j2';

/** Planning reads much before it writes, so more is remembered. */
export const PLANNING_CONDENSER = { usage_id: 'planning_condenser', max_size: 100, keep_first: 6 } as const;

/** GitLab and Azure DevOps do not take directories that begin with a dot for organization configuration (contract 3.4). */
export function planPath(projectDirectory: string, provider: GitProvider | null): string {
  const directory =
    provider === 'gitlab' || provider === 'azure_devops' ? 'agents-tmp-config' : '.agents_tmp';
  return `${projectDirectory}/${directory}/PLAN.md`;
}

export const planningTools = (plan: string): { name: string; params: Record<string, unknown> }[] => [
  { name: 'glob', params: {} },
  { name: 'grep', params: {} },
  { name: 'planning_file_editor', params: { plan_path: plan } },
];

/** Sections of a plan, in the order in which they are to be written. */
export const PLAN_STRUCTURE = [
  'Write the plan with exactly these sections, in this order:',
  '1. OBJECTIVE\n   What is to be reached, in one or two sentences, in terms of what the program will do.',
  '2. CONTEXT SUMMARY\n   The components, files and data that are concerned, and what constrains the work.',
  '3. APPROACH OVERVIEW\n   The way chosen, and why this one if there were others.',
  '4. IMPLEMENTATION STEPS\n   One step after the other: its goal, how to do it, and which files or functions it touches.',
  '5. TESTING AND VALIDATION\n   How to see that it works: what to run, and what success looks like.',
].join('\n\n');

/** Stands before everything else that the plan agent is told. */
export const planningBoundary = (plan: string): string =>
  `<PLANNING_BOUNDARY>
You plan; you do not carry out. Read whatever you need, ask when something is unclear, and write the result to ${plan}.
Change no other file and run nothing that changes the project. When the plan is complete, say so and stop: carrying it
out is the task of another conversation, which the user starts. If you are asked to implement something, say that this
is the planning conversation and improve the plan instead.
</PLANNING_BOUNDARY>`;
