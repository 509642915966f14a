/**
 * Identifiers: how each is spelled on the wire, and the Temporal names made from them.
 * Workflow ids are made and read back here only.
 */

/** Task queue of workflows and of activities that any machine may run. */
export const TASK_QUEUE = 'callboard';
/** Task queue on which a sandbox is placed: whichever host takes the task becomes its owner. */
export const PLACEMENT_TASK_QUEUE = 'sandboxes';
/** Task queue of activities bound to one machine. */
export const hostTaskQueue = (hostId: string): string => `sandboxes@${hostId}`;

export const startTaskWorkflowId = (taskId: string): string => `start-task/${taskId}`;
export const sandboxWorkflowId = (sandboxId: string): string => `sandbox/${sandboxId}`;
export const sandboxPoolWorkflowId = (specId: string): string => `sandbox-pool/${specId}`;
export const conversationWorkflowId = (conversationId: string): string => `conversation/${conversationId}`;

export const startTaskIdOf = (workflowId: string): string => workflowId.slice('start-task/'.length);
export const sandboxIdOf = (workflowId: string): string => workflowId.slice('sandbox/'.length);
export const conversationIdOf = (workflowId: string): string => workflowId.slice('conversation/'.length);

const UUID_PATTERN = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** True for any UUID spelling a client may send: hex or dashed, either case. */
export const isUuid = (text: string): boolean => UUID_PATTERN.test(text);

/** 32 lower-case hex digits without dashes: the spelling of ids in V1 bodies (contract 1.2). */
export const hexId = (uuid: string): string => uuid.replaceAll('-', '').toLowerCase();

/** Lower-case dashed spelling: what the agent-server answers with. */
export function dashedId(uuid: string): string {
  const hex = hexId(uuid);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Base-62 text of a byte string, most significant digit first. */
export function base62(bytes: Uint8Array): string {
  let rest = 0n;
  for (const byte of bytes) rest = rest * 256n + BigInt(byte);
  let text = '';
  while (rest > 0n) {
    text = BASE62.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text || '0';
}
