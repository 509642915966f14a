import { ContentBlock } from '../contract/content.js';
import type { PendingStatus } from '../contract/pending-message.js';
import type { pendingMessages } from './schema/index.js';

/** A message as it is read back. */
export interface PendingMessage {
  id: string;
  conversationId: string;
  status: PendingStatus;
  content: ContentBlock[];
  run: boolean;
  attempts: number;
  refusals: number;
  toldAt: Date | null;
  logPosition: string | null;
  detail: string | null;
  createdAt: Date;
}

/** What a row says. */
export const toMessage = ({ content, ...row }: typeof pendingMessages.$inferSelect): PendingMessage => ({
  id: row.id,
  conversationId: row.conversationId,
  status: row.status,
  content: ContentBlock.array().parse(JSON.parse(content)),
  run: row.run,
  attempts: row.attempts,
  refusals: row.refusals,
  toldAt: row.toldAt,
  logPosition: row.logPosition,
  detail: row.detail,
  createdAt: row.createdAt,
});
