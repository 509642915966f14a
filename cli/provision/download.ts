import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { messageOf } from '../user-error.js';

export interface DownloadOptions {
  /** How long until the response must have begun; a machine without a way out fails this fast. */
  connectTimeoutMs: number;
  /** How long the body may stand still. */
  stallTimeoutMs: number;
  signal?: AbortSignal;
  /** Called with the bytes so far and, when announced, of the whole. */
  onProgress?: (received: number, total: number | undefined) => void;
}

/** Saves what the URL answers and returns its SHA-256 in hex. Throws with a reason that fits into a sentence. */
export async function download(url: string, file: string, options: DownloadOptions): Promise<string> {
  const abort = new AbortController();
  const patience = (ms: number, what: string): NodeJS.Timeout =>
    setTimeout(() => abort.abort(new Error(`${what} within ${ms / 1000} s`)), ms);
  let timer = patience(options.connectTimeoutMs, 'no answer');
  try {
    const response = await fetch(url, {
      signal: options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal,
      redirect: 'follow',
    });
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    const total = Number(response.headers.get('content-length')) || undefined;
    const hash = createHash('sha256');
    const out = createWriteStream(file, { mode: 0o600 });
    let received = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      clearTimeout(timer);
      timer = patience(options.stallTimeoutMs, 'nothing more came');
      hash.update(chunk);
      received += chunk.length;
      options.onProgress?.(received, total);
      if (!out.write(chunk)) await once(out, 'drain');
    }
    out.end();
    await finished(out);
    return hash.digest('hex');
  } catch (err) {
    throw new Error(reasonOf(err), { cause: err });
  } finally {
    clearTimeout(timer);
  }
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(err: unknown): string {
  const cause = err instanceof Error ? err.cause : undefined;
  if (cause instanceof Error) return 'code' in cause ? String(cause.code) : cause.message;
  return messageOf(err);
}
