/** Messages that wait for their conversation (contract 3.14). */
import { z } from 'zod';
import { ContentBlock } from './content.js';

/** The most messages that may wait for one conversation. */
export const MOST_PENDING_MESSAGES = 10;
/** The most that the messages which wait for one conversation may hold together, in bytes of JSON. */
export const MOST_PENDING_BYTES = 33_554_432;

/**
 * `waiting`: for the conversation, its sandbox, or those before it; `delivered`: the agent-server has it; `failed`: it
 * will not be delivered, and `detail` says why.
 */
export const PENDING_STATUSES = ['waiting', 'delivered', 'failed'] as const;
export type PendingStatus = (typeof PENDING_STATUSES)[number];

/** A message as its list shows it. */
export const PendingMessageInfo = z.object({
  id: z.string(),
  /** Place among those that wait, from 1; null for one that will not be delivered. */
  position: z.int().nullable(),
  status: z.enum(PENDING_STATUSES),
  /** Why it was not delivered yet, or not at all. */
  detail: z.string().nullable(),
  role: z.literal('user'),
  content: z.array(ContentBlock),
  created_at: z.string(),
});
export type PendingMessageInfo = z.infer<typeof PendingMessageInfo>;

/** Answer to a message that was queued. */
export const PendingMessageReceipt = z.object({
  id: z.string(),
  queued: z.literal(true),
  position: z.int(),
});
