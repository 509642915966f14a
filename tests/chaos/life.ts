/** One user: starts a conversation, works with it, and puts it away. Goes on, as people do, when something fails. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import type { Books } from './books.js';
import type { ChaosClient, Reply } from './client.js';
import type { Act, PlannedLife } from './plan.js';

export interface LifeDeps {
  client: ChaosClient;
  books: Books;
  /** Name of the repository that some starts clone. */
  repository: string;
}

/** How long a user waits for what was promised before going away; what is promised holds without them. */
const PATIENCE_MS = 90_000;
const LOOK_MS = 300;
/** How often a refused start is tried again. */
const START_ATTEMPTS = 8;
const RETRY_MS = 700;

export async function live(life: PlannedLife, deps: LifeDeps): Promise<void> {
  const { client, books } = deps;
  const sandboxId = life.via === 'own sandbox' ? await startSandbox(deps) : null;
  const request = requestOf(life, deps.repository, sandboxId);
  const first = await start(life, request, deps);
  if (first === null) return;

  const during = perform(life, life.during, { taskId: first, conversationId: null }, deps);
  let taskId = first;
  let task = await endOfStart(taskId, client);
  await during;
  if (task?.status === 'ERROR' && !books.cancelled.has(taskId)) {
    taskId = (await tryAgain(taskId, life, deps)) ?? taskId;
    task = await endOfStart(taskId, client);
  }
  if (task?.status !== 'READY' || books.cancelled.has(taskId)) return;
  const conversationId = task.app_conversation_id;
  if (conversationId === null) {
    books.wrongAnswers.push(`start task ${taskId} is READY without a conversation`);
    return;
  }
  books.conversations.set(taskId, conversationId);
  books.messages.unshift({ life: life.index, text: firstText(life), via: 'send-message', taskId });
  await perform(life, life.after, { taskId, conversationId }, deps);
  await putAway(life, conversationId, task.sandbox_id, deps);
}

const firstText = ({ index }: PlannedLife): string => `life ${index} message 0`;

function requestOf(life: PlannedLife, repository: string, sandboxId: string | null): Record<string, unknown> {
  return {
    initial_message: { role: 'user', content: [{ type: 'text', text: firstText(life) }], run: true },
    ...(life.identity === 'conversation id' ? { conversation_id: life.key } : {}),
    ...(life.repository ? { selected_repository: repository } : {}),
    ...(life.logging ? { processors: [{ kind: 'LoggingCallbackProcessor' }] } : {}),
    ...(sandboxId === null ? {} : { sandbox_id: sandboxId }),
  };
}

async function startSandbox({ client, books }: LifeDeps): Promise<string | null> {
  const { status, body } = await client.send('start a sandbox', 'POST', '/api/v1/sandboxes');
  if (status !== 200) return null;
  const { id } = body as { id: string };
  books.ownSandboxes.add(id);
  return id;
}

/** @returns the task, null when no attempt was accepted */
async function start(life: PlannedLife, request: unknown, deps: LifeDeps): Promise<string | null> {
  const { books } = deps;
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const copies = await Promise.all(
      Array.from({ length: life.copies }, (_, copy) => sendStart(life, request, copy, deps)),
    );
    const accepted = copies.flatMap(({ taskId }) => (taskId === null ? [] : [taskId]));
    for (const taskId of accepted) {
      books.accept(taskId, life.index, life.identity === 'none' ? null : life.key);
    }
    if (accepted[0] !== undefined) return accepted[0];
    // Refused for good; or, with nothing that makes it the same start again, it may have been accepted after all.
    const [first] = copies;
    if (first?.reply.status != null && first.reply.status < 500) return null;
    if (life.identity === 'none' && first?.reply.status == null) return null;
    await sleep(RETRY_MS * (attempt + 1));
  }
  return null;
}

async function sendStart(
  life: PlannedLife,
  request: unknown,
  copy: number,
  { client }: LifeDeps,
): Promise<{ taskId: string | null; reply: Reply }> {
  const headers: Record<string, string> =
    life.identity === 'idempotency key' ? { 'idempotency-key': life.key } : {};
  if (life.via === 'stream' && copy === 0) {
    const { tasks, reply } = await client.stream(request, headers);
    return { taskId: tasks[0]?.id ?? null, reply };
  }
  const reply = await client.send('start', 'POST', '/api/v1/app-conversations', { body: request, headers });
  return { taskId: reply.status === 200 ? (reply.body as StartTask).id : null, reply };
}

/** @returns the task of the new attempt, null when there is none */
async function tryAgain(
  taskId: string,
  life: PlannedLife,
  { client, books }: LifeDeps,
): Promise<string | null> {
  const path = `/api/v1/app-conversations/start-tasks/${taskId}/retry`;
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const { status, body } = await client.send('try a start again', 'POST', path);
    if (status === 200) {
      const { id } = body as StartTask;
      books.accept(id, life.index, null);
      return id;
    }
    if (status !== null && status < 500) return null;
    await sleep(RETRY_MS * (attempt + 1));
  }
  return null;
}

/** The task at its end; null when the user has lost patience. */
async function endOfStart(taskId: string, client: ChaosClient): Promise<StartTask | null> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(LOOK_MS)) {
    const { status, body } = await client.send(
      'poll a start',
      'GET',
      `/api/v1/app-conversations/start-tasks?ids=${taskId}`,
    );
    if (status !== 200) continue;
    const [task] = body as (StartTask | null)[];
    if (!task) return null; // deleted
    if (isTerminal(task.status)) return task;
  }
  return null;
}

interface Subject {
  taskId: string;
  conversationId: string | null;
}

async function perform(
  life: PlannedLife,
  acts: readonly Act[],
  subject: Subject,
  deps: LifeDeps,
): Promise<void> {
  let number = subject.conversationId === null ? 100 : 1;
  for (const act of acts) {
    await sleep(act.afterMs);
    await performOne(life, act, subject, `life ${life.index} message ${number++}`, deps);
  }
}

async function performOne(
  life: PlannedLife,
  { kind }: Act,
  { taskId, conversationId }: Subject,
  text: string,
  { client, books }: LifeDeps,
): Promise<void> {
  const content = [{ type: 'text', text }];
  const acknowledged = (via: 'send-message' | 'pending') =>
    books.messages.push({ life: life.index, text, via, taskId });
  switch (kind) {
    case 'message': {
      if (conversationId === null) return;
      const path = `/api/v1/app-conversations/${conversationId}/send-message`;
      const { status } = await client.send(kind, 'POST', path, {
        body: { role: 'user', content, run: true },
      });
      if (status === 200) acknowledged('send-message');
      return;
    }
    case 'queue message': {
      const path = `/api/v1/conversations/${conversationId ?? `task-${taskId}`}/pending-messages`;
      const { status } = await client.send(kind, 'POST', path, { body: { role: 'user', content } });
      if (status === 201) acknowledged('pending');
      return;
    }
    case 'pause':
    case 'resume': {
      const sandboxId = await sandboxOf(taskId, client);
      if (sandboxId) await client.send(kind, 'POST', `/api/v1/sandboxes/${sandboxId}/${kind}`);
      return;
    }
    case 'read events':
      await client.send(kind, 'GET', `/api/v1/conversation/${conversationId ?? ''}/events/search?limit=50`);
      return;
    case 'list':
      await client.send(kind, 'GET', '/api/v1/app-conversations/search?limit=20');
      return;
    case 'cancel': {
      if (life.identity !== 'conversation id') return;
      books.cancelled.add(taskId);
      await deleteConversation(life.key, { client, books });
    }
  }
}

async function sandboxOf(taskId: string, client: ChaosClient): Promise<string | null> {
  const { status, body } = await client.send(
    'poll a start',
    'GET',
    `/api/v1/app-conversations/start-tasks?ids=${taskId}`,
  );
  return status === 200 ? ((body as (StartTask | null)[])[0]?.sandbox_id ?? null) : null;
}

async function putAway(
  life: PlannedLife,
  conversationId: string,
  sandboxId: string | null,
  deps: Pick<LifeDeps, 'client' | 'books'>,
): Promise<void> {
  const { client, books } = deps;
  if (life.end === 'delete conversation') return deleteConversation(conversationId, deps);
  if (sandboxId === null) return;
  if (life.end === 'keep') {
    books.keptSandboxes.add(sandboxId);
    return;
  }
  // What was asked for may have been done although no answer came: in doubt it counts as deleted.
  books.deletedSandboxes.add(sandboxId);
  const path = `/api/v1/sandboxes/${sandboxId}`;
  if (await untilDone(() => client.send('delete a sandbox', 'DELETE', path)))
    books.goneSandboxes.add(sandboxId);
}

async function deleteConversation(
  conversationId: string,
  { client, books }: Pick<LifeDeps, 'client' | 'books'>,
): Promise<void> {
  const id = conversationId.replaceAll('-', '');
  books.deletedConversations.add(id);
  const path = `/api/v1/app-conversations/${conversationId}`;
  if (await untilDone(() => client.send('delete a conversation', 'DELETE', path)))
    books.goneConversations.add(id);
}

/** A deletion is asked for until it is answered: 404 says that it is done already. False when it never was. */
async function untilDone(send: () => Promise<Reply>): Promise<boolean> {
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const { status } = await send();
    if (status !== null && status < 500) return true;
    await sleep(RETRY_MS * (attempt + 1));
  }
  return false;
}
