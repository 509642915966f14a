/** The user's saved LLM profiles, mirrored into the sandbox so that the agent can switch between them. */
import type { Start } from './start-loader.js';

/** The agent gets the tool that switches profiles from this many on. */
export const PROFILES_TO_SWITCH = 2;

/**
 * Saves each profile on the agent-server and removes those it has and the user has not. A user without profiles, in a
 * sandbox that was made for this start, costs no call.
 */
export async function mirrorLlmProfiles(start: Start, signal: AbortSignal): Promise<void> {
  const { client, settings, task } = start;
  const profiles = Object.entries(settings.llm_profiles.profiles);
  if (profiles.length === 0 && task.request.sandbox_id === null) return;
  const known = await client.profiles({ signal });
  const wanted = new Set(profiles.map(([name]) => name));
  await Promise.all([
    ...profiles.map(([name, llm]) => client.saveProfile(name, { ...llm, stream: true }, { signal })),
    ...known
      .filter(({ name }) => !wanted.has(name))
      .map(({ name }) => client.deleteProfile(name, { signal })),
  ]);
}
