import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codecRoutes } from '../../api/codec-routes.js';
import { Secret } from '../../contract/masking.js';
import { OperatorAccess, OPERATOR_SESSION_SECONDS } from '../../identity/operator-access.js';
import { PayloadEncryption } from '../../identity/payload-codec.js';
import { TEST_KEYS } from '../support/master-key.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const KEY = 'the key of the operator';
const BASE = '/api/v1/temporal-codec';
const codec = new PayloadEncryption(TEST_KEYS);
const bearer = { Authorization: `Bearer ${KEY.replaceAll(' ', '-')}` };
const operator = new OperatorAccess(new Secret(KEY.replaceAll(' ', '-')), TEST_KEYS);

const base64 = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64');
const asJson = ({ metadata, data }: Payload) => ({
  metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, bytes]) => [name, base64(bytes)])),
  data: base64(data),
});
const plain = () => defaultPayloadConverter.toPayload({ taskId: 'a' });

let server: TestServer;
let off: TestServer;
beforeAll(async () => {
  const open = (access: OperatorAccess) =>
    startTestServer(codecRoutes({ operator: access, codec, namespace: 'default' }), {
      server: { instanceKey: null },
    });
  [server, off] = await Promise.all([open(operator), open(new OperatorAccess(null, TEST_KEYS))]);
});
afterAll(() => Promise.all([server.close(), off.close()]));

const post = (name: string, body: unknown, headers: Record<string, string> = bearer, to = server) =>
  to.fetch(`${BASE}/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
const encrypted = async () => ({ payloads: [asJson((await codec.encode([plain()]))[0]!)] });

describe('the codec endpoint', () => {
  it('decrypts and encrypts for whoever holds the key', async () => {
    const decoded = await post('decode', await encrypted(), { ...bearer, 'X-Namespace': 'default' });
    expect(decoded.status).toBe(200);
    expect(await decoded.json()).toEqual({ payloads: [asJson(plain())] });
    const encoded = await post('encode', { payloads: [asJson(plain())] });
    const { payloads } = (await encoded.json()) as { payloads: unknown[] };
    expect(JSON.stringify(payloads)).not.toContain(asJson(plain()).data);
    const again = await post('decode', { payloads });
    expect(await again.json()).toEqual({ payloads: [asJson(plain())] });
  });

  it.each([
    ['no key', {}],
    ['a wrong key', { Authorization: 'Bearer wrong' }],
    ['an empty key', { Authorization: 'Bearer ' }],
    ['a part of the key', { Authorization: 'Bearer the-key' }],
    ['the key under another scheme', { Authorization: `Basic ${KEY}` }],
    ['a forged session', { Cookie: 'callboard_operator=eyJhbGciOiJub25lIn0.e30.' }],
  ])('lets nobody in with %s, whatever the body', async (_name, headers: Record<string, string>) => {
    for (const body of [await encrypted(), { payloads: 'x' }]) {
      for (const name of ['decode', 'encode']) {
        const answer = await post(name, body, headers);
        expect(answer.status).toBe(401);
        expect(await answer.text()).not.toContain('taskId');
      }
    }
  });

  it('is off without a configured key, for every key', async () => {
    for (const headers of [{}, bearer, { Authorization: 'Bearer ' }] as Record<string, string>[]) {
      expect((await post('decode', await encrypted(), headers, off)).status).toBe(403);
    }
    expect((await off.fetch(`${BASE}/sign-in`)).status).toBe(403);
  });

  it.each([
    [422, '{'],
    [422, []],
    [422, { payloads: 'x' }],
    [422, { payloads: [{ data: 'not base64!' }] }],
    [422, { payloads: [{ metadata: { encoding: 7 } }] }],
    [
      400,
      {
        payloads: [
          { metadata: { encoding: Buffer.from('binary/callboard-jwe').toString('base64') }, data: 'eA==' },
        ],
      },
    ],
  ])('answers %i to %j', async (status, body) => {
    expect((await post('decode', body)).status).toBe(status);
  });

  it('converts payloads of its own namespace only', async () => {
    expect((await post('decode', await encrypted(), { ...bearer, 'X-Namespace': 'other' })).status).toBe(400);
  });

  it('lets a browser in that has shown the key once, and its page only if the origin is permitted', async () => {
    const refused = await server.fetch(`${BASE}/sign-in`);
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toMatch(/^Basic /);
    const basic = (password: string) => ({
      headers: { Authorization: `Basic ${Buffer.from(`operator:${password}`).toString('base64')}` },
    });
    expect((await server.fetch(`${BASE}/sign-in`, basic('wrong'))).status).toBe(401);
    const signedIn = await server.fetch(`${BASE}/sign-in`, basic(KEY.replaceAll(' ', '-')));
    expect(signedIn.status).toBe(200);
    const cookie = signedIn.headers.get('set-cookie')!;
    expect(cookie).toMatch(/HttpOnly/);
    expect(cookie).toMatch(/SameSite=Strict/);
    const Cookie = cookie.split(';')[0]!;
    const fromUi = await post('decode', await encrypted(), { Cookie, Origin: 'http://127.0.0.1:8233' });
    expect(fromUi.status).toBe(200);
    expect(fromUi.headers.get('access-control-allow-origin')).toBe('http://127.0.0.1:8233');
    expect(fromUi.headers.get('access-control-allow-credentials')).toBe('true');
    const foreign = await post('decode', await encrypted(), { Cookie, Origin: 'https://evil.example' });
    expect(foreign.status).toBe(403);
  });

  it('ends a session with its time, and with the key it stands for', async () => {
    const now = new Date();
    const token = await operator.newSession(now);
    const later = new Date(now.getTime() + OPERATOR_SESSION_SECONDS * 1000 + 1000);
    expect(await operator.isSession(token, now)).toBe(true);
    expect(await operator.isSession(token, later)).toBe(false);
    const changed = new OperatorAccess(new Secret('another key of the operator'), TEST_KEYS);
    expect(await changed.isSession(token, now)).toBe(false);
  });
});
