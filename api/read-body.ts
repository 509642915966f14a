/** Reading a request's body with an account of every byte, and an end to waiting. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { HttpError } from './http-error.js';

export interface BodyLimits {
  /** Largest body, unpacked. */
  bytes: number;
  /** Until all of it has arrived, in milliseconds. */
  withinMs: number;
  /** Told of each piece before it is kept; what it throws ends the reading. */
  take: (bytes: number) => void;
}

const UNPACKERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/**
 * The body, unpacked.
 * @throws {HttpError} 400 not complete, 408 too slow, 413 too large, 415 packed in an unknown way; or what `take` throws
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limits.bytes) throw tooLarge(limits.bytes);
  const source = unpacked(request);
  const pieces: Buffer[] = [];
  let length = 0;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(tooSlow(limits.withinMs)), limits.withinMs);
      source.on('data', (piece: Buffer) => {
        try {
          length += piece.length;
          if (length > limits.bytes) throw tooLarge(limits.bytes);
          limits.take(piece.length);
          pieces.push(piece);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      source.on('end', resolve);
      source.on('error', () => reject(incomplete()));
      request.on('close', () => {
        if (!request.complete) reject(incomplete());
      });
    });
    return Buffer.concat(pieces, length);
  } catch (error) {
    pieces.length = 0;
    // What still comes is thrown away, so that the answer can go out.
    source.removeAllListeners('data');
    request.unpipe();
    request.resume();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function unpacked(request: IncomingMessage): Readable {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding === 'identity') return request;
  const unpacker = UNPACKERS[encoding]?.();
  if (!unpacker) throw new HttpError(415, 'The content encoding of the request body is not supported.');
  return request.pipe(unpacker);
}

const tooLarge = (limit: number): HttpError =>
  new HttpError(413, `The request body is too large. The limit is ${limit} bytes.`);

const incomplete = (): HttpError => new HttpError(400, 'The request body is not complete.');

/** The connection is closed with it: whoever sends this slowly would go on doing so. */
const tooSlow = (ms: number): HttpError =>
  new HttpError(408, `The request body did not arrive within ${ms / 1000} seconds.`, undefined, {
    Connection: 'close',
  });
