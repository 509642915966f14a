import { request } from 'node:http';
import { expect, it } from 'vitest';
import { route } from '../../api/route.js';
import { startTestServer } from '../support/test-server.js';

const routes = [
  route({
    method: 'get',
    path: '/things',
    summary: 'things',
    tag: 'Tests',
    guard: 'user',
    responses: { 200: { description: 'Fine.' } },
    handle: () => Promise.resolve([]),
  }),
];

/** The status and text of an answer to a request that calls the server by a name. */
function calledAs(url: string, host: string): Promise<{ status: number | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}/things`, { headers: { Host: host } }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    call.on('error', reject).end();
  });
}

const LOCAL = {
  host: '127.0.0.1',
  publicUrl: 'https://callboard.example/base',
  internalUrl: 'http://api.internal:3000',
  corsOrigins: ['https://page.example'],
};

it.each([
  ['127.0.0.1', true],
  ['localhost:3001', true],
  ['LOCALHOST:3000', true],
  ['app.localhost:3000', true],
  ['[::1]:3000', true],
  ['192.0.2.7:3000', true],
  ['callboard.example', true],
  ['callboard.example:443', true],
  ['api.internal:3000', true],
  ['page.example', true],
  ['attacker.example', false],
  ['attacker.example:3000', false],
  ['localhost.attacker.example', false],
  ['callboard.example.attacker.example', false],
  ['127.0.0.1.attacker.example', false],
  ['not a host', false],
])('a server on this machine alone, called as %j, answers: %j', async (host, answers) => {
  const server = await startTestServer(routes, { server: LOCAL });
  try {
    const { status, text } = await calledAs(server.url, host);
    expect(status).toBe(answers ? 200 : 403);
    if (!answers) expect(text).toContain('set OH_WEB_URL');
    expect(text).not.toContain('attacker');
  } finally {
    await server.close();
  }
});

it('a server on this machine alone looks at each name by which it is called, whatever came before', async () => {
  const server = await startTestServer(routes, { server: LOCAL });
  try {
    const statuses: (number | undefined)[] = [];
    for (const host of [
      'attacker.example',
      'localhost',
      'localhost',
      'attacker.example',
      'localhost.attacker.example',
      'localhost',
    ]) {
      statuses.push((await calledAs(server.url, host)).status);
    }
    expect(statuses).toEqual([403, 200, 200, 403, 403, 200]);
  } finally {
    await server.close();
  }
});

it.each(['0.0.0.0', '::', 'callboard.internal'])(
  'a server that listens on %s answers to any name',
  async (host) => {
    const server = await startTestServer(routes, { server: { host } });
    try {
      expect(await calledAs(server.url, 'anything.example')).toMatchObject({ status: 200 });
    } finally {
      await server.close();
    }
  },
);
