import { createHash } from 'node:crypto';
import { z } from 'zod';
import { AgentServerError } from '../agent-server/errors.js';
import type { LlmSettings } from '../contract/agent-settings.js';
import { dashedId } from '../contract/ids.js';
import { profileMissing } from '../contract/llm-profiles.js';
import { HexUuid, Success, SUCCESS } from '../contract/primitives.js';
import type { ConversationRepository } from '../db/conversation-repository.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { SettingsStore } from '../identity/settings-store.js';
import { requireAuthor } from './authorship.js';
import {
  agentServerTrouble,
  runningRuntime,
  type Runtime,
  type RuntimeDeps,
} from './conversation-runtime.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { storable } from './storable-text.js';

export interface SwitchRouteDeps extends RuntimeDeps {
  settings: Pick<SettingsStore, 'find' | 'profile'>;
  rows: Pick<ConversationRepository, 'setLlmModel'>;
}

/** How long an agent-server may take, in milliseconds; an agent of another kind is asked in turn. */
const SWITCH_MS = 30_000;
const ACP_SWITCH_MS = 120_000;

const common = { method: 'post', tag: 'Conversations', guard: 'user' } as const;
const params = z.object({ conversation_id: HexUuid });
const responses = {
  200: { description: 'The next step of the agent uses it.', schema: Success },
  403: { description: 'The conversation belongs to another member of the organization.' },
  409: { description: 'The sandbox is paused.' },
  502: { description: 'The agent-server refused, or did not answer.' },
} as const;

/** Changes the model of a conversation that is under way (contract 3.10). */
export const switchRoutes = (deps: SwitchRouteDeps): RouteDefinition[] => [
  route({
    ...common,
    path: '/api/v1/app-conversations/{conversation_id}/switch_profile',
    summary: 'Go on with a saved model',
    params,
    body: z.object({ profile_name: z.string().min(1) }),
    responses: {
      ...responses,
      404: { description: 'There is no such profile or conversation, or it cannot be reached.' },
    },
    async handle({ params: { conversation_id: id }, body: { profile_name: name }, user }) {
      const llm = await deps.settings.profile(user.userId, name);
      if (!llm) {
        const settings = await deps.settings.find(user.userId);
        throw notFound(settings ? profileMissing(name).message : 'Settings not found');
      }
      const { agentServer } = await authorsRuntime(deps, user, id, 'profiles');
      await told(agentServer.switchLlm(dashedId(id), switchedLlm(name, llm), { timeoutMs: SWITCH_MS }));
      await deps.rows.setLlmModel(id, llm.model);
      return SUCCESS;
    },
  }),
  route({
    ...common,
    path: '/api/v1/app-conversations/{conversation_id}/switch_acp_model',
    summary: 'Go on with another model of an agent that speaks the Agent Client Protocol',
    params,
    body: z.object({ model: z.string().min(1) }),
    responses: {
      ...responses,
      400: { description: 'The agent is of another kind, or cannot change its model.' },
      404: { description: 'There is no such conversation, or it cannot be reached.' },
      504: { description: 'The agent did not answer in time.' },
    },
    async handle({ params: { conversation_id: id }, body, user }) {
      const { model } = storable(body);
      const { agentServer } = await authorsRuntime(deps, user, id, 'models');
      await told(agentServer.switchAcpModel(dashedId(id), model, { timeoutMs: ACP_SWITCH_MS }), [400, 504]);
      await deps.rows.setLlmModel(id, model);
      return SUCCESS;
    },
  }),
];

/** @throws {HttpError} 403 for a conversation that the caller may see, but not change */
async function authorsRuntime(
  deps: RuntimeDeps,
  user: UserContext,
  id: string,
  what: 'profiles' | 'models',
): Promise<Extract<Runtime, { state: 'running' }>> {
  const listed = await deps.conversations.read(await visibleUserIds(user), id);
  if (listed) requireAuthor(user, listed.conversation.createdByUserId, 'conversation');
  return runningRuntime(deps, user, id, `Sandbox is paused; resume it before switching ${what}.`);
}

/**
 * The agent-server keeps the first model that it is given under a `usage_id`, so that changes with whatever is in it.
 */
export function switchedLlm(name: string, llm: LlmSettings): LlmSettings {
  const streamed = { ...llm, stream: true };
  const { usage_id: _replaced, ...rest } = streamed;
  const hash = createHash('sha256').update(JSON.stringify(rest)).digest('hex').slice(0, 12);
  return { ...streamed, usage_id: `profile:${name}:${hash}` };
}

/** What was sent holds a key, and refusals may quote it: neither the client nor the log gets them. */
async function told(order: Promise<void>, passedOn: readonly number[] = []): Promise<void> {
  try {
    await order;
  } catch (error) {
    if (!(error instanceof AgentServerError)) throw error;
    const { status } = error;
    throw new HttpError(
      status !== null && passedOn.includes(status) ? status : 502,
      agentServerTrouble(error),
    );
  }
}
