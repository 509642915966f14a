/** The codec endpoint of Temporal's UI and command line: an operator may have payloads decrypted, nobody else. */
import type { Payload, PayloadCodec } from '@temporalio/common';
import { parseCookie, stringifySetCookie } from 'cookie';
import type { Request } from 'express';
import { z } from 'zod';
import { OPERATOR_SESSION_SECONDS, type OperatorAccess } from '../identity/operator-access.js';
import { PayloadLocked } from '../identity/payload-codec.js';
import { HttpError } from './http-error.js';
import { validated } from './request-input.js';
import { route, type RouteDefinition } from './route.js';
import { bearerOf } from '../identity/bearer.js';

/** Where Temporal's UI is told to look; it appends `/decode` and `/encode`. */
export const CODEC_PATH = '/api/v1/temporal-codec';

const COOKIE = 'callboard_operator';

export interface CodecRouteDeps {
  operator: Pick<OperatorAccess, 'isOn' | 'isKey' | 'isSession' | 'newSession'>;
  codec: PayloadCodec;
  /** The namespace whose payloads these are. */
  namespace: string;
}

const Bytes = z.base64().nullish();
const Payloads = z.object({
  payloads: z
    .array(z.object({ metadata: z.record(z.string(), z.base64()).nullish(), data: Bytes }))
    .max(10_000),
});
type JsonPayload = z.output<typeof Payloads>['payloads'][number];

export function codecRoutes({ operator, codec, namespace }: CodecRouteDeps): RouteDefinition[] {
  const responses = {
    200: { description: 'The payloads in their order.', schema: Payloads },
    400: { description: 'A payload that cannot be read, or another namespace.' },
    401: { description: 'Neither the key of the operator nor a session.' },
    403: { description: 'No operator key is configured.' },
    422: { description: 'A body that is not what Temporal sends.' },
  };
  const conversion = (name: 'decode' | 'encode') =>
    route({
      method: 'post',
      path: `${CODEC_PATH}/${name}`,
      summary: name === 'decode' ? 'Decrypt Temporal payloads' : 'Encrypt Temporal payloads',
      tag: 'Temporal',
      guard: 'self',
      limit: 'secret',
      responses,
      body: z.unknown(), // looked at when it is known who sends it
      async handle({ body: given, request }) {
        await requireOperator(operator, request);
        const body = validated(Payloads, 'body', given);
        if (!body) throw new HttpError(422, 'A JSON object with payloads is needed.');
        const asked = request.get('X-Namespace');
        if (asked !== undefined && asked !== namespace) {
          throw new HttpError(400, `Only payloads of the namespace ${namespace} are converted here.`);
        }
        try {
          const converted = await codec[name](body.payloads.map(fromJson));
          return { payloads: converted.map(toJson) };
        } catch (error) {
          if (error instanceof PayloadLocked) throw new HttpError(400, error.message);
          throw error;
        }
      },
    });
  return [
    conversion('decode'),
    conversion('encode'),
    route({
      method: 'get',
      path: `${CODEC_PATH}/sign-in`,
      summary: 'Let this browser use the codec endpoint: it asks for the operator key',
      tag: 'Temporal',
      guard: 'self',
      limit: 'secret',
      responses: {
        200: { description: 'A cookie for some hours.', schema: z.string(), contentType: 'text/plain' },
        401: { description: 'The browser asks for a password: the operator key, with any name.' },
        403: { description: 'No operator key is configured.' },
      },
      async handle({ request, response }) {
        requireConfigured(operator);
        if (!operator.isKey(basicPassword(request.get('Authorization')))) {
          response.setHeader('WWW-Authenticate', 'Basic realm="Callboard operator", charset="UTF-8"');
          throw new HttpError(401, 'Unauthorized');
        }
        const cookie = stringifySetCookie({
          name: COOKIE,
          value: await operator.newSession(),
          httpOnly: true,
          sameSite: 'strict',
          secure: request.secure,
          path: CODEC_PATH,
          maxAge: OPERATOR_SESSION_SECONDS,
        });
        response.setHeader('Set-Cookie', cookie);
        response
          .type('text/plain; charset=utf-8')
          .send('Signed in: the Temporal UI can decrypt payloads in this browser.\n');
        return undefined;
      },
    }),
  ];
}

function requireConfigured({ isOn }: Pick<OperatorAccess, 'isOn'>): void {
  if (!isOn)
    throw new HttpError(
      403,
      'The codec endpoint is off: set CALLBOARD_OPERATOR_KEY to let operators use it.',
    );
}

/** @throws {HttpError} 401, or 403 where nobody is let in */
async function requireOperator(operator: CodecRouteDeps['operator'], request: Request): Promise<void> {
  requireConfigured(operator);
  const key = bearerOf(request.get('Authorization'));
  if (key !== undefined && operator.isKey(key)) return;
  const session = parseCookie(request.get('Cookie') ?? '')[COOKIE];
  if (session !== undefined && (await operator.isSession(session))) return;
  throw new HttpError(401, 'Unauthorized');
}

function basicPassword(authorization: string | undefined): string {
  const given = /^Basic\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1] ?? '';
  const text = Buffer.from(given, 'base64').toString();
  return text.slice(text.indexOf(':') + 1);
}

const fromJson = ({ metadata, data }: JsonPayload): Payload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes, 'base64')]),
  ),
  data: Buffer.from(data ?? '', 'base64'),
});

const toJson = ({ metadata, data }: Payload): JsonPayload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data ?? []).toString('base64'),
});
