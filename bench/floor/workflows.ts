/** Workflows that take the steps of a start on a light agent-server, each of which does nothing. */
import {
  condition,
  defineUpdate,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { CALLBOARD_SANDBOX_STATUS, CALLBOARD_START_STATUS } from '../../workflows/search-attributes.js';
import type { FloorActivities } from './floor.js';

export const doneUpdate = defineUpdate('done');

const { nothing: localNothing } = proxyLocalActivities<FloorActivities>({ startToCloseTimeout: '5s' });
const { nothing, untilSandbox } = proxyActivities<FloorActivities>({ startToCloseTimeout: '10m' });

/** As `startConversation` without repository: one activity between two tasks. */
export async function floorStart(id: string): Promise<void> {
  if (patched('2026-11-floor')) await untilSandbox(id, 'floorSandbox');
  upsertSearchAttributes([{ key: CALLBOARD_START_STATUS, value: 'READY' }]);
}

/** As a sandbox's actor until it has nothing to do but to wait. */
export async function floorSandbox(id: string): Promise<void> {
  let running = false;
  setHandler(doneUpdate, () => condition(() => running));
  if (patched('2026-11-floor')) await nothing(id);
  running = true;
  upsertSearchAttributes([{ key: CALLBOARD_SANDBOX_STATUS, value: 'RUNNING' }]);
  await localNothing(id);
}

/** The least with which a start could outlive a worker: one activity. */
export async function fewestStart(id: string): Promise<void> {
  await untilSandbox(id, 'fewestSandbox');
}

/** The least with which a sandbox could: one activity, and somebody told. */
export async function fewestSandbox(id: string): Promise<void> {
  let running = false;
  setHandler(doneUpdate, () => condition(() => running));
  await nothing(id);
  running = true;
  await condition(() => false, '1h');
}
