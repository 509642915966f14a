import type { Client } from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import pLimit from 'p-limit';
import { keyIdOfPayload } from '../../identity/payload-codec.js';

/** Histories read at a time. */
const PARALLEL = 8;

/** How many open workflows still need each master key, by its id: they are replayed from what was encrypted with it. */
export async function openWorkflowsByKey({ workflow }: Client): Promise<Map<string, number>> {
  const limit = pLimit(PARALLEL);
  const reading: Promise<Set<string>>[] = [];
  for await (const { workflowId, runId } of workflow.list({ query: "ExecutionStatus = 'Running'" })) {
    reading.push(limit(async () => keysIn(await workflow.getHandle(workflowId, runId).fetchHistory())));
  }
  const counts = new Map<string, number>();
  for (const keys of await Promise.all(reading)) {
    for (const id of keys) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** The keys of all payloads in a history, wherever in it they are. */
function keysIn(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return found;
  if ('metadata' in value && 'data' in value) {
    const id = keyIdOfPayload(value as Payload);
    if (id !== null) found.add(id);
    return found;
  }
  for (const member of Object.values(value)) keysIn(member, found);
  return found;
}
