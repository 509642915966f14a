/** A `conversation` that takes a step the real one does not: proof that the replay test can fail. */
import { sleep } from '@temporalio/workflow';

export async function conversation(): Promise<void> {
  await sleep('1 minute');
}
