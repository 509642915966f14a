/** Rows as the product leaves them, for tests of what reads them. */
import { randomUUID } from 'node:crypto';
import { hexId } from '../../contract/ids.js';
import { StartRequest } from '../../contract/start-task.js';
import type { Database } from '../../db/database.js';
import {
  conversations,
  sandboxes,
  startRequests,
  startTasks,
  startTaskTransitions,
} from '../../db/schema/index.js';

export const newId = (): string => hexId(randomUUID());

export async function insertConversation(
  database: Database,
  values: Partial<typeof conversations.$inferInsert> = {},
): Promise<string> {
  const id = values.id ?? newId();
  const now = new Date();
  await database
    .insert(conversations)
    .values({ sandboxId: `box-${id}`, title: 'A title', createdAt: now, updatedAt: now, ...values, id });
  return id;
}

export async function insertSandbox(
  database: Database,
  values: Partial<typeof sandboxes.$inferInsert> = {},
): Promise<string> {
  const id = values.id ?? newId();
  const now = new Date();
  await database.insert(sandboxes).values({
    specId: 'spec',
    status: 'RUNNING',
    sessionApiKey: 'sealed',
    sessionApiKeyHash: `hash of ${id}`,
    secretKey: 'sealed',
    lastActiveAt: now,
    createdAt: now,
    updatedAt: now,
    ...values,
    id,
  });
  return id;
}

export async function insertStartTask(
  database: Database,
  values: Partial<typeof startTasks.$inferInsert> & { request?: Partial<StartRequest> } = {},
): Promise<string> {
  const { request, ...task } = values;
  const id = task.id ?? newId();
  const now = new Date();
  const conversationId = task.conversationId ?? newId();
  const row = { status: 'READY' as const, createdAt: now, updatedAt: now, ...task, id, conversationId };
  await database.insert(startRequests).values({
    id,
    conversationId,
    createdByUserId: task.createdByUserId ?? null,
    request: { ...StartRequest.parse({}), ...request },
  });
  await database.insert(startTasks).values(row);
  await database
    .insert(startTaskTransitions)
    .values({ taskId: id, sequence: 1, status: row.status, at: row.createdAt });
  return id;
}
