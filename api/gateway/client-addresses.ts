/** Under which address clients are told to reach an agent-server: its own, or this server's (the gateway). */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Request, RequestHandler } from 'express';
import type { ExposedUrl } from '../../contract/sandbox.js';

/** Turns the direct address of an agent-server into the one that clients are told. */
export type ClientAddress = (sandboxId: string, directUrl: string) => string;

/** What clients are told without a gateway: the sandbox's own port. */
export const directAddress: ClientAddress = (_sandboxId, directUrl) => directUrl;

/** Path of a sandbox's agent-server on this server; what follows it is the agent-server's own path. */
export const agentServerPath = (sandboxId: string): string =>
  `/api/v1/sandboxes/${encodeURIComponent(sandboxId)}/agent-server`;

/** Origin under which the client of the request at hand reached us. */
const requestOrigin = new AsyncLocalStorage<string>();

/**
 * Keeps the origin of each request for the time of its answer. `X-Forwarded-Proto` and `X-Forwarded-Host` count when a
 * proxy on a private address sent them (the application's trust setting), else the `Host` header does.
 */
export const rememberOrigin: RequestHandler = (request, _response, next) => {
  const origin = originOf(request);
  if (origin === null) next();
  else requestOrigin.run(origin, next);
};

/** What cannot be a host is no part of an address. */
function originOf(request: Request): string | null {
  const { headers } = request;
  const isForwarded = headers['x-forwarded-host'] !== undefined || headers['x-forwarded-proto'] !== undefined;
  // Express reads forwarded headers by the trust setting; it looks at the sender's address even where there are none.
  const host: unknown = isForwarded ? request.host : headers.host;
  if (typeof host !== 'string' || !/^[\w.[\]:-]+$/.test(host)) return null;
  return `${isForwarded ? request.protocol : 'http'}://${host}`; // of itself this server speaks plain HTTP
}

/**
 * Addresses on this server: below the configured public URL, else below the origin that the client itself used, so that
 * what works for its request works for the address in the answer.
 */
export function gatewayAddress(publicUrl: string | null): ClientAddress {
  return (sandboxId, directUrl) => {
    const base = publicUrl ?? requestOrigin.getStore();
    return base === undefined ? directUrl : `${base}${agentServerPath(sandboxId)}`;
  };
}

/** The exposed addresses of a sandbox as clients see them; editors and apps in it keep addresses of their own. */
export function exposedTo(
  clientAddress: ClientAddress,
  sandboxId: string,
  exposed: readonly ExposedUrl[],
): ExposedUrl[] {
  return exposed.map((entry) => {
    if (entry.name !== 'AGENT_SERVER') return entry;
    const url = clientAddress(sandboxId, entry.url);
    return url === entry.url ? entry : { ...entry, url, port: portOf(url) };
  });
}

function portOf(address: string): number {
  const { port, protocol } = new URL(address);
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}
