/** Which requests are for the web client, and for which of its files. */
import type { Request } from 'express';
import { isUnsafePath } from '../gateway/http-paths.js';

/** Never the client's: a missing route must not look like a page. */
const OURS = /^\/(api|sockets|mcp|socket\.io)(\/|$)/;

/**
 * The path of a file within the build, decoded.
 * @param path of the request, as it was sent
 * @returns null for paths of the API, of hidden files, and those that could lead out of the build
 */
export function filePathOf(path: string): string | null {
  if (isUnsafePath(path)) return null;
  const decoded = decodeURIComponent(path);
  if (OURS.test(decoded) || OURS.test(path)) return null;
  return decoded.split('/').some((segment) => segment.startsWith('.')) ? null : decoded;
}

/** Files with a hash in their names. */
export const isAsset = (path: string): boolean => path.startsWith('/assets/');

/**
 * Whether a browser opens a page, whose address only the client itself understands. What a page loads – scripts, images,
 * data – is there or it is not.
 */
export function isNavigation(request: Pick<Request, 'get'>, path: string): boolean {
  const mode = request.get('Sec-Fetch-Mode');
  return (
    (request.get('Accept') ?? '').includes('text/html') &&
    (mode === undefined || mode === 'navigate') &&
    !isAsset(path) &&
    !(path.split('/').at(-1) ?? '').includes('.')
  );
}
