/** Which requests go to an agent-server, and with which path there. */
import { AGENT_SERVER_PATH } from './socket-request.js';

export interface ProxyTarget {
  /** Null on this server's own paths, where the session key tells the sandbox. */
  sandboxId: string | null;
  /** Path and query at the agent-server, as the client spelled them. */
  path: string;
  /** Path of the agent-server's root on this server. */
  prefix: string;
}

/**
 * Routes of the agent-server that clients call on the host of `conversation_url` without its path. Whatever this server
 * serves itself under such a path comes first.
 */
const RUNTIME_PATH = /^\/api\/(?!v1(?:\/|$)|auth(?:\/|$)|init(?:\/|$))[\w-]+(?:\/|$)/;

/** @param url path and query of a request; null when it is nothing for an agent-server */
export function readProxyTarget(url: string): ProxyTarget | null {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  const query = end < 0 ? '' : url.slice(end);
  const below = AGENT_SERVER_PATH.exec(path);
  if (below) {
    const prefix = below[0];
    const rest = path.slice(prefix.length) || '/';
    return { sandboxId: below[1] ?? null, path: withQueryPath(rest, query), prefix };
  }
  return RUNTIME_PATH.test(path) ? { sandboxId: null, path: withQueryPath(path, query), prefix: '' } : null;
}

/**
 * True for a path that could leave the agent-server's own root, or mean different things to us and to it. A sandbox's
 * address may itself have a path, beside that of another sandbox.
 */
export function isUnsafePath(path: string): boolean {
  const [bare = ''] = path.split('?', 1);
  if (!bare.startsWith('/') || /[\\\s\0#]/.test(bare)) return true;
  try {
    // Twice, so that what a second decoder would make of it is seen too.
    const once = decodeURIComponent(bare);
    return [once, lenient(once)].some((text) => /(^|[/\\])\.{1,2}([/\\;]|$)|[\0\r\n\\]/.test(text));
  } catch (error) {
    if (error instanceof URIError) return true;
    throw error;
  }
}

function lenient(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text; // a percent sign of its own, in a file name
    throw error;
  }
}

/** Routes that took a file's path in their own path once, and take it as a parameter now. */
const FILE_ROUTE = /^(\/api\/(?:file\/(?:upload|download)|git\/(?:changes|diff)))\/(.+)$/;

/** Old clients write `/api/git/diff/%2Fworkspace%2Fa.txt`, the agent-server reads `/api/git/diff?path=…` (contract, calls 50–52). */
function withQueryPath(path: string, query: string): string {
  const match = FILE_ROUTE.exec(path);
  if (!match) return `${path}${query}`;
  const [, route = '', encoded = ''] = match;
  const options = new URLSearchParams(query);
  if (options.has('path')) return `${path}${query}`;
  try {
    options.set('path', `/${decodeURIComponent(encoded).replace(/^\/+/, '')}`);
  } catch (error) {
    if (error instanceof URIError) return `${path}${query}`;
    throw error;
  }
  return `${route}?${options.toString()}`;
}
