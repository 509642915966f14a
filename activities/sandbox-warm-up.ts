/** What a booted agent-server does once, done before somebody waits for it. */
import type { AgentServerClient } from '../agent-server/client.js';
import { AgentServerError } from '../agent-server/errors.js';
import { skillPayload, type SkillPayload } from '../contract/skill.js';

/** Longest of all is the clone of the public skills, in milliseconds. */
const SKILLS_MS = 20_000;

/** Of nobody: it is read, and never asked anything. */
const LLM = { model: 'openai/none', api_key: 'none', base_url: 'http://127.0.0.1:9/v1' };
const AGENT = {
  kind: 'Agent',
  llm: { ...LLM, stream: true, usage_id: 'agent' },
  tools: [{ name: 'terminal', params: {} }],
  include_default_tools: ['FinishTool', 'ThinkTool'],
  agent_context: { skills: [], load_user_skills: false, load_public_skills: false },
  condenser: { kind: 'LLMSummarizingCondenser', llm: { ...LLM, stream: false, usage_id: 'condenser' } },
};

/**
 * Asks for the public skills, and has a start request read: the agent-server makes its routes and the schemas of agents
 * at the first call that needs them. Nothing of anybody is in it. Best effort; fails only by a fault of ours.
 * @returns the public skills, none where they cannot be had, null when they did not come in time
 */
export async function warmUp(
  client: Pick<AgentServerClient, 'skills' | 'rehearseStart'>,
  projectDirectory: string,
): Promise<SkillPayload[] | null> {
  const skills = {
    load_public: true,
    load_user: true,
    load_project: false,
    load_org: false,
    project_dir: projectDirectory,
  };
  await client.rehearseStart(AGENT).catch(refusal);
  const answer = await client.skills(skills, { timeoutMs: SKILLS_MS }).catch(refusal);
  if (answer instanceof AgentServerError) return answer.kind === 'timeout' ? null : [];
  return answer.skills.map((skill) => skillPayload(skill));
}

/** What an agent-server refuses, the first start meets again. */
function refusal(error: unknown): AgentServerError {
  if (error instanceof AgentServerError) return error;
  throw error;
}
