import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runStart } from '../../../cli/client/start.js';
import { UserError } from '../../../cli/user-error.js';
import { freePort, listen, originOf, stop } from '../../support/loopback.js';

const CONVERSATION = '0123456789abcdef0123456789abcdef';

let server: Server;
let answers: Record<string, unknown>;
beforeEach(async () => {
  // A sandbox on whose address nobody listens any more.
  const gone = `http://127.0.0.1:${await freePort()}`;
  answers = {
    'POST /api/v1/app-conversations/stream-start': [
      { id: 'a', status: 'WORKING' },
      { id: 'a', status: 'READY', app_conversation_id: CONVERSATION },
    ],
    'GET /api/v1/app-conversations': [
      {
        id: CONVERSATION,
        sandbox_id: 'box',
        session_api_key: 'key',
        conversation_url: `${gone}/api/conversations/${CONVERSATION}`,
      },
    ],
    'GET /api/v1/settings': { llm_api_key_set: true, agent_settings: { llm: { base_url: null } } },
  };
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://localhost');
    const answer = answers[`${request.method} ${pathname}`];
    response.statusCode = answer === undefined ? 404 : 200;
    // A line for each, as the stream of a start has it.
    response.end(
      Array.isArray(answer)
        ? `[\n${answer.map((one) => JSON.stringify(one)).join(',\n')}]`
        : JSON.stringify(answer ?? { detail: 'not here' }),
    );
  });
  await listen(server);
});
afterEach(() => stop(server));

async function start(message: string | null): Promise<{ printed: string; ended: unknown }> {
  const lines: string[] = [];
  const ended = await runStart({
    target: { url: originOf(server), key: null },
    message,
    repository: null,
    branch: null,
    provider: null,
    sandboxId: null,
    print: (line) => lines.push(line),
    signal: new AbortController().signal,
  }).catch((err: unknown) => err);
  return { printed: lines.join('\n'), ended };
}

describe('callboard start', () => {
  it('says in a sentence that a conversation can no longer be followed, and where it goes on', async () => {
    const { printed, ended } = await start('Hi');
    expect(printed).toMatch(/READY\n\n {2}conversation {2}0123456789abcdef/);
    expect(printed).not.toContain('No key of a model');
    expect(ended).toBeInstanceOf(UserError);
    expect((ended as UserError).message).toBe(
      `The events of the conversation can no longer be followed (ECONNREFUSED); it goes on without us: GET ${originOf(server)}/api/v1/conversation/${CONVERSATION}/events/search tells how.`,
    );
  }, 90_000);

  it.each([
    [
      'there is neither a key nor a server of one’s own',
      { llm_api_key_set: false, agent_settings: { llm: { base_url: null } } },
      true,
    ],
    [
      'a server of one’s own needs no key',
      { llm_api_key_set: false, agent_settings: { llm: { base_url: 'http://127.0.0.1:11434' } } },
      false,
    ],
    ['there are no settings at all', undefined, true],
  ])(
    'tells that the agent may get no answer, where %s',
    async (_, settings, told) => {
      answers['GET /api/v1/settings'] = settings;
      const { printed } = await start('Hi');
      expect(printed.includes('No key of a model is set')).toBe(told);
    },
    60_000,
  );

  it('only names the conversation where no message was given', async () => {
    const { printed, ended } = await start(null);
    expect(ended).toBe(0);
    expect(printed).toContain('sandbox       box');
  });
});
