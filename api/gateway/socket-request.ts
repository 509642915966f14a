/** What a WebSocket handshake asks for: which socket of which sandbox, and with which options. */
import { hexId, isUuid } from '../../contract/ids.js';

/** Sockets of the agent-server; `session` exists from version 1.58 on. */
export type SocketKind = 'events' | 'bash-events' | 'session';

export interface SocketTarget {
  kind: SocketKind;
  /** 32 hex digits; null for bash events that are asked for by sandbox alone. */
  conversationId: string | null;
  /** The sandbox named in the path; null on `/sockets/…`, where conversation or key tell it. */
  sandboxId: string | null;
}

/** Below this path lies what the agent-server of one sandbox serves. */
export const AGENT_SERVER_PATH = /^\/api\/v1\/sandboxes\/([\w.-]+)\/agent-server(?=\/|$)/;

const SOCKET_PATH = /^\/sockets\/(events|bash-events|session)(?:\/([^/]+))?$/;

/**
 * Reads a path (without query) such as `/sockets/events/<conversation>`, alone or below a sandbox's own path.
 * @returns null when there is no such socket; an id that is none has no socket either
 */
export function readSocketTarget(path: string): SocketTarget | null {
  const below = AGENT_SERVER_PATH.exec(path);
  const match = SOCKET_PATH.exec(below ? path.slice(below[0].length) : path);
  if (!match) return null;
  const [, kind, id] = match as unknown as [string, SocketKind, string | undefined];
  if (id === undefined && kind !== 'bash-events') return null;
  if (id !== undefined && !isUuid(id)) return null;
  return { kind, conversationId: id === undefined ? null : hexId(id), sandboxId: below?.[1] ?? null };
}

/** Parameters that are for this server alone. */
const OURS = ['session_api_key', 'last_event_id'];
const RESEND = ['resend_mode', 'resend_all', 'after_timestamp'];

/**
 * Path and query for the agent-server: every option of the client's, but no key, which travels as a header.
 * @param since replaces the client's own way of saying what it has seen
 */
export function upstreamPath(
  { kind, conversationId }: SocketTarget,
  query: URLSearchParams,
  since: string | null = null,
): string {
  const options = new URLSearchParams(query);
  for (const name of OURS) options.delete(name);
  if (since !== null) {
    options.delete('resend_all');
    options.set('resend_mode', 'since');
    options.set('after_timestamp', since);
  } else if (query.get('last_event_id') && !RESEND.some((name) => options.has(name))) {
    // An event we have not heard of yet: all of them, rather than a gap. Clients drop by id what they have.
    options.set('resend_mode', 'all');
  }
  // The agent-server has one stream of bash events; the conversation only said which sandbox is meant.
  const id = kind === 'bash-events' || conversationId === null ? '' : `/${conversationId}`;
  const text = options.toString();
  return `/sockets/${kind}${id}${text === '' ? '' : `?${text}`}`;
}
