/**
 * The agent-servers' REST routes on this server: below `/api/v1/sandboxes/{sandbox_id}/agent-server`, and, for clients that
 * keep only the host of `conversation_url`, on the agent-server's own paths. Bodies are streamed both ways, never kept.
 */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream';
import type { Request, RequestHandler, Response } from 'express';
import { HttpError } from '../http-error.js';
import type { WrongKeys } from '../wrong-keys.js';
import { shownKey } from './credentials.js';
import type { GatewayAccess, Reachable } from './gateway-access.js';
import { isUnsafePath, readProxyTarget, type ProxyTarget } from './http-paths.js';
import { answerHeaders, clientLocation, requestHeaders } from './proxy-headers.js';

export interface HttpGatewayDeps {
  access: Pick<GatewayAccess, 'sandboxOfKey' | 'reach'>;
  /** Absent: wrong keys are not counted. */
  wrongKeys?: WrongKeys;
  /** How long an agent-server may take to accept a connection, in milliseconds. */
  connectMs: number;
  /** How long a connection may be silent, in milliseconds: some calls wait for a running tool call. */
  silenceMs: number;
}

const NO_QUERY = new URLSearchParams();

/** Serves what belongs to an agent-server and passes everything else on; comes after the server's own routes. */
export function httpGateway(deps: HttpGatewayDeps): RequestHandler {
  return async (request, response, next) => {
    const target = readProxyTarget(request.originalUrl);
    const reachable = target && (await authorize(request, target, deps));
    if (!target || !reachable) {
      next();
      return;
    }
    if (isUnsafePath(target.path))
      throw new HttpError(400, 'This path is not accepted: write it without dot segments.');
    await forward({ request, response, target, reachable }, deps);
  };
}

/**
 * The session key is the only proof that counts here: a web page cannot make a browser add it.
 * @returns null when the request is meant for somebody else
 */
async function authorize(
  request: Request,
  target: ProxyTarget,
  { access, wrongKeys }: HttpGatewayDeps,
): Promise<Reachable | null> {
  const shown = shownKey(request.headers, NO_QUERY);
  const sandbox = shown && (await access.sandboxOfKey(shown.key));
  if (!sandbox) {
    if (target.sandboxId === null) return null;
    const refusal = new HttpError(401, 'Unauthorized');
    throw shown && wrongKeys ? wrongKeys.note(request, refusal) : refusal;
  }
  if (target.sandboxId !== null && target.sandboxId !== sandbox.id) {
    throw new HttpError(403, 'This session key belongs to another sandbox.');
  }
  return access.reach(sandbox);
}

interface Exchange {
  request: Request;
  response: Response;
  target: ProxyTarget;
  reachable: Reachable;
}

async function forward(
  { request, response, target, reachable }: Exchange,
  deps: HttpGatewayDeps,
): Promise<void> {
  const outgoing = open(request, target, reachable);
  const closed = (): void => {
    if (!response.writableFinished) outgoing.destroy();
  };
  response.once('close', closed);
  const answer = await answerOf(request, outgoing, deps).catch((error: unknown) => {
    if (response.destroyed) return null; // the client went away first, nobody waits for an answer
    throw error;
  });
  if (!answer) return;
  response.writeHead(
    answer.statusCode ?? 502,
    answerHeaders(answer.headers, clientLocation(answer.headers.location, reachable.baseUrl, target.prefix)),
  );
  await new Promise<void>((resolve) => {
    // Cut short by either end, the answer is cut short at the other: the client sees that it is not complete.
    pipeline(answer, response, () => resolve());
  });
}

/** Always to the address in the sandbox's row: path and headers are the client's, the host never is. */
function open(request: Request, target: ProxyTarget, { baseUrl, sessionApiKey }: Reachable): ClientRequest {
  const { protocol, hostname, port, pathname } = new URL(baseUrl);
  const send = protocol === 'https:' ? httpsRequest : httpRequest;
  return send({
    protocol,
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port,
    method: request.method,
    path: `${pathname.replace(/\/+$/, '')}${target.path}`,
    headers: requestHeaders(request.headers, sessionApiKey),
    agent: false, // a kept connection might be closed just when it is used again
  });
}

/**
 * Sends the body as it comes, and waits for the head of the answer.
 * @throws {HttpError} 502 or 504 when there is none
 */
function answerOf(
  request: Request,
  outgoing: ClientRequest,
  { connectMs, silenceMs }: HttpGatewayDeps,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const fail = (error: HttpError): void => {
      reject(error);
      outgoing.destroy();
    };
    const connecting = setTimeout(() => fail(silent()), connectMs);
    outgoing.once('socket', (socket) => socket.once('connect', () => clearTimeout(connecting)));
    outgoing.setTimeout(silenceMs, () => fail(silent()));
    outgoing.once('close', () => clearTimeout(connecting));
    outgoing.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(error.code)));
    outgoing.once('response', resolve);
    const { headers } = request;
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) outgoing.end();
    else request.pipe(outgoing);
  });
}

const silent = (): HttpError =>
  new HttpError(504, 'The agent-server of this sandbox does not answer; try again in a few seconds.');

const unreachable = (code = 'no connection'): HttpError =>
  new HttpError(
    502,
    `The agent-server of this sandbox cannot be reached (${code}); try again in a few seconds.`,
  );
