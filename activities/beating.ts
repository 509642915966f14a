import { heartbeat } from '@temporalio/activity';

/** How often a working activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 3_000;

/** Heartbeats for the whole length of the work: that is also how a cancellation reaches it. */
export async function beating<Result>(work: () => Promise<Result>): Promise<Result> {
  const beat = setInterval(() => heartbeat(), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}
