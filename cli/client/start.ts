import { createAgentServerClient } from '../../agent-server/client.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { eventStream } from '../../agent-server/event-stream.js';
import type { AppConversation } from '../../contract/conversation.js';
import { dashedId } from '../../contract/ids.js';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import { UserError } from '../user-error.js';
import { askApi, callApi, type ApiTarget } from './api-client.js';
import { eventLine, executionStatusOf } from './event-line.js';
import { startTasksOf } from './start-stream.js';

export interface StartOptions {
  target: ApiTarget;
  message: string | null;
  repository: string | null;
  branch: string | null;
  provider: string | null;
  sandboxId: string | null;
  /** Where lines go. */
  print: (line: string) => void;
  signal: AbortSignal;
}

const NO_MODEL =
  '  ! No key of a model is set, so the agent may get no answer: set LLM_MODEL and LLM_API_KEY before ./callboard up, or in the settings.\n';

/** Statuses in which nothing more will come without a person. */
const RESTING = new Set(['finished', 'error', 'stuck', 'paused', 'waiting_for_confirmation']);

/**
 * `callboard start`: a conversation from a terminal, phases with elapsed times, then the agent's events as they come.
 * @returns the exit status: 0 when the run finished, 1 otherwise.
 */
export async function runStart(options: StartOptions): Promise<number> {
  const { print } = options;
  const task = await followStart(options);
  if (task.status === 'ERROR') {
    throw new UserError(`The conversation could not be started: ${task.detail ?? 'no reason was given'}`);
  }
  const conversation = await readConversation(options.target, task.app_conversation_id ?? '');
  print(`\n  conversation  ${conversation.id}\n  sandbox       ${conversation.sandbox_id}\n`);
  if (options.message === null) return 0;
  if (await hasNoModel(options.target)) print(NO_MODEL);
  try {
    return await followEvents(options, conversation);
  } catch (err) {
    if (!(err instanceof AgentServerError)) throw err;
    throw new UserError(
      `The events of the conversation can no longer be followed (${err.detail}); it goes on without us: GET ${options.target.url}/api/v1/conversation/${conversation.id}/events/search tells how.`,
    );
  }
}

/** Neither a key nor a server of one's own: the agent is likely to try for minutes, and to fail. */
async function hasNoModel(target: ApiTarget): Promise<boolean> {
  const response = await askApi(target, 'GET', '/api/v1/settings');
  if (response.status === 404) return true; // nobody has set anything, the instance included
  if (!response.ok) return false; // who may start but not read settings is told nothing
  const { llm_api_key_set: hasKey, agent_settings: agent } = (await response.json()) as {
    llm_api_key_set?: boolean;
    agent_settings?: { llm?: { base_url?: string | null } };
  };
  return hasKey === false && !agent?.llm?.base_url;
}

async function followStart(options: StartOptions): Promise<StartTask> {
  const { target, message, print } = options;
  const began = Date.now();
  const response = await callApi(target, 'POST', '/api/v1/app-conversations/stream-start', {
    ...(message === null
      ? {}
      : { initial_message: { role: 'user', content: [{ type: 'text', text: message }], run: true } }),
    selected_repository: options.repository,
    selected_branch: options.branch,
    git_provider: options.provider,
    sandbox_id: options.sandboxId,
  });
  if (!response.body) throw new UserError(`${target.url} sent no stream.`);
  let last: StartTask | null = null;
  for await (const task of startTasksOf(response.body)) {
    const seconds = ((Date.now() - began) / 1000).toFixed(2).padStart(7);
    print(`${seconds} s  ${task.status}`);
    last = task;
  }
  if (last && isTerminal(last.status)) return last;
  throw new UserError(
    `The stream ended before the start did; it goes on without us: GET ${target.url}/api/v1/app-conversations/start-tasks?ids=${last?.id ?? ''} tells how.`,
  );
}

async function readConversation(target: ApiTarget, id: string): Promise<AppConversation> {
  const response = await callApi(target, 'GET', `/api/v1/app-conversations?ids=${id}`);
  const [conversation] = (await response.json()) as (AppConversation | null)[];
  if (!conversation?.conversation_url || !conversation.session_api_key) {
    throw new UserError(`The conversation ${id} is not running any more.`);
  }
  return conversation;
}

/**
 * Prints events until the run has ended. Its very end is a snapshot of the whole state, after the last message and any
 * error; the first snapshot comes on connecting, before the log is replayed, and tells nothing yet but whether the run
 * is over already.
 */
async function followEvents({ print, signal }: StartOptions, conversation: AppConversation): Promise<number> {
  const url = conversation.conversation_url ?? '';
  const target = {
    baseUrl: url.slice(0, url.indexOf('/api/conversations')),
    sessionApiKey: conversation.session_api_key ?? '',
  };
  const conversationId = dashedId(conversation.id);
  const show = (event: Record<string, unknown>): void => {
    const line = eventLine(event);
    if (line) print(line);
  };
  let snapshots = 0;
  for await (const event of eventStream({ ...target, conversationId, resend: 'all', signal })) {
    const status = executionStatusOf(event);
    if (event['key'] !== 'full_state' || status === null) {
      show(event);
      continue;
    }
    snapshots++;
    if (!RESTING.has(status)) continue;
    if (snapshots === 1) {
      // Too fast for us: what there is to see is in the log.
      for await (const logged of createAgentServerClient(target).eventsFrom(conversationId)) show(logged);
    }
    print(`\n  ${status}`);
    return status === 'finished' ? 0 : 1;
  }
  return 1;
}
