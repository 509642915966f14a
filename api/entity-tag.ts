/** Answers that pollers need not read again. */
import { hash } from 'node:crypto';
import type { Request, Response } from 'express';

/** 200 with the value as JSON and its tag, or 304 without a body to whoever shows that they have it. */
export function sendUnlessKnown(request: Request, response: Response, value: unknown): void {
  const body = JSON.stringify(value);
  const tag = `"${hash('sha1', body, 'base64url')}"`;
  response.setHeader('ETag', tag);
  if (shows(request, tag)) {
    response.status(304).end();
    return;
  }
  response.status(200);
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body); // as text, so that head and body leave in one piece
}

/** Whether a tag is among those of the request; ones that proxies have made weak on their way count as the same. */
function shows({ headers }: Request, tag: string): boolean {
  const shown = headers['if-none-match'];
  return shown?.split(',').some((one) => one.trim().replace(/^W\//, '') === tag) ?? false;
}
