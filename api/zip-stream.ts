/** A zip archive that is made while it is sent. */
import { once } from 'node:events';
import { PassThrough, Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ZipFile } from 'yazl';

export interface ZipEntry {
  name: string;
  content: string;
}

/**
 * Writes entries to `target` as they come and ends it. Further ones are asked for when those before have been packed and
 * taken: no more than one batch is held, however many there are and however slowly they are read.
 * @param batches of entries that are packed side by side
 * @throws what `batches` throws, or the reason why `target` was closed; nothing is left open then
 */
export async function streamZip(
  batches: AsyncIterable<readonly ZipEntry[]>,
  target: Writable,
  modifiedAt: Date,
): Promise<void> {
  const yazl = await import('yazl'); // seldom needed, and the process would wait for it to begin
  const zip = new yazl.ZipFile();
  const output = outputOf(zip);
  const ended = new AbortController();
  const sending = pipeline(output, target).finally(() => ended.abort());
  const filling = fill(zip, batches, modifiedAt, ended.signal).catch((error: unknown) => {
    // Whoever reads sees that the archive is cut off.
    output.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  });
  const [sent, filled] = await Promise.allSettled([sending, filling]);
  // What went wrong with the entries is the cause; that nobody takes them any more is the consequence.
  if (filled.status === 'rejected' && !isAbort(filled.reason)) throw filled.reason;
  if (sent.status === 'rejected') throw sent.reason;
}

async function fill(
  zip: ZipFile,
  batches: AsyncIterable<readonly ZipEntry[]>,
  mtime: Date,
  signal: AbortSignal,
): Promise<void> {
  const output = outputOf(zip);
  for await (const batch of batches) {
    signal.throwIfAborted();
    const last = batch.at(-1);
    if (last === undefined) continue;
    for (const { name, content } of batch.slice(0, -1)) zip.addBuffer(Buffer.from(content), name, { mtime });
    // Packed last and as a stream, it tells when all are.
    const input = Readable.from([Buffer.from(last.content)], { objectMode: false });
    const packed = once(input, 'end', { signal });
    zip.addReadStreamLazy(last.name, { mtime }, (use) => use(null, input));
    await packed;
    if (output.writableNeedDrain) await once(output, 'drain', { signal });
  }
  zip.end();
}

/** What the archive is read from; of its two ends the one that is written to tells when there is room again. */
function outputOf({ outputStream }: ZipFile): PassThrough {
  if (outputStream instanceof PassThrough) return outputStream;
  throw new Error('the archive is written to a stream of another kind than expected');
}

const isAbort = (error: unknown): boolean => error instanceof Error && error.name === 'AbortError';
