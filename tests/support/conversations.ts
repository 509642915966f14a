import { expect, vi } from 'vitest';
import type { AppConversation } from '../../contract/conversation.js';
import type { AgentEvent } from '../../contract/event.js';
import type { Page } from '../../contract/primitives.js';
import type { SandboxInfo } from '../../contract/sandbox.js';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import { startTasksOf } from '../../cli/client/start-stream.js';
import type { Product } from './product.js';

/** Steps of a user at the API, as tests take them. */

export const userMessage = (text: string) => ({ role: 'user', content: [{ type: 'text', text }], run: true });

/** Starts a conversation; the tasks of its stream as they come. */
export async function* streamOf(product: Product, request: object): AsyncGenerator<StartTask> {
  const response = await fetch(`${product.url}/api/v1/app-conversations/stream-start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  expect(response.status, 'status of stream-start').toBe(200);
  yield* startTasksOf(response.body!);
}

/** Starts a conversation and follows the stream to its end; all tasks of the stream, in order. */
export async function streamStart(product: Product, request: object): Promise<StartTask[]> {
  const tasks: StartTask[] = [];
  for await (const task of streamOf(product, request)) tasks.push(task);
  return tasks;
}

/** Starts a conversation; the task as it was accepted. */
export async function postStart(product: Product, request: object): Promise<StartTask> {
  const { status, body } = await product.call<StartTask>('POST', '/api/v1/app-conversations', request);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

export async function readTask(product: Product, id: string): Promise<StartTask> {
  const { body } = await product.call<(StartTask | null)[]>(
    'GET',
    `/api/v1/app-conversations/start-tasks?ids=${id}`,
  );
  const [task] = body;
  if (!task) throw new Error(`start task ${id} is not there`);
  return task;
}

/** Waits until the start has ended. */
export const endOfStart = (product: Product, id: string, timeout = 240_000): Promise<StartTask> =>
  vi.waitFor(
    async () => {
      const task = await readTask(product, id);
      if (!isTerminal(task.status)) throw new Error(`the start is still ${task.status}`);
      return task;
    },
    { timeout, interval: 100 },
  );

export async function readConversation(product: Product, id: string): Promise<AppConversation> {
  const { body } = await product.call<(AppConversation | null)[]>(
    'GET',
    `/api/v1/app-conversations?ids=${id}`,
  );
  const [conversation] = body;
  if (!conversation) throw new Error(`conversation ${id} is not there`);
  return conversation;
}

/** Waits until the run has come to a status. */
export const runStatus = (product: Product, id: string, status: string): Promise<AppConversation> =>
  vi.waitFor(
    async () => {
      const conversation = await readConversation(product, id);
      expect(conversation.execution_status).toBe(status);
      return conversation;
    },
    { timeout: 180_000, interval: 100 },
  );

export async function eventsOf(product: Product, id: string): Promise<AgentEvent[]> {
  const { body } = await product.call<Page<AgentEvent>>('GET', `/api/v1/conversation/${id}/events/search`);
  return body.items;
}

export async function sandboxesOf(product: Product): Promise<SandboxInfo[]> {
  const { body } = await product.call<Page<SandboxInfo>>('GET', '/api/v1/sandboxes/search');
  return body.items;
}
