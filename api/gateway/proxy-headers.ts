/** Which headers pass between a client and an agent-server, and which stay. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

/** About one connection, not about the message (RFC 9110, 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Proofs of who the caller is here, and what is true of the way to us only. */
const OURS = new Set([
  'host',
  'cookie',
  'authorization',
  'proxy-authorization',
  'x-session-api-key',
  'x-service-api-key',
  'x-access-token',
  'x-init-api-key',
  'origin',
  'referer',
  'forwarded',
  'x-real-ip',
  'via',
  'expect',
]);

const passes = (name: string, connection: ReadonlySet<string>): boolean =>
  !HOP_BY_HOP.has(name) &&
  !OURS.has(name) &&
  !connection.has(name) &&
  !/^(x-forwarded-|sec-|cf-|proxy-|access-control-)/.test(name);

/** Headers for the agent-server: the client's about the message, and the sandbox's key. */
export function requestHeaders(headers: IncomingHttpHeaders, sessionApiKey: string): OutgoingHttpHeaders {
  const connection = new Set((headers.connection ?? '').toLowerCase().split(/\s*,\s*/));
  const passed = Object.entries(headers).filter(([name]) => passes(name, connection));
  return { ...Object.fromEntries(passed), 'x-session-api-key': sessionApiKey };
}

/**
 * What an agent-server may say to clients of this server. It runs what a model wrote, on our origin: no cookies, no CORS,
 * no policies, no workers, nothing that is not about the body itself.
 */
const ANSWERED = [
  'content-type',
  'content-length',
  'content-encoding',
  'content-disposition',
  'content-language',
  'content-range',
  'accept-ranges',
  'etag',
  'last-modified',
  'allow',
  'retry-after',
  'vary',
];

/** Set on every answer, so that a page from a sandbox has no rights of this origin wherever it is opened. */
const HARMLESS = {
  'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
};

/** @param location the agent-server's redirection as clients can follow it, or null */
export function answerHeaders(headers: IncomingHttpHeaders, location: string | null): OutgoingHttpHeaders {
  const passed = ANSWERED.flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(passed), ...(location === null ? {} : { location }), ...HARMLESS };
}

/** A redirection within the agent-server, led back through us; anything else is nobody's business of ours. */
export function clientLocation(location: string | undefined, baseUrl: string, prefix: string): string | null {
  const base = baseUrl.replace(/\/+$/, '');
  if (location === undefined || !URL.canParse(location, `${base}/`)) return null;
  const to = new URL(location, `${base}/`);
  const root = new URL(base);
  const within = to.pathname.startsWith(root.pathname === '/' ? '/' : `${root.pathname}/`);
  if (to.origin !== root.origin || !within) return null;
  const path = root.pathname === '/' ? to.pathname : to.pathname.slice(root.pathname.length);
  return `${prefix}${path}${to.search}`;
}
