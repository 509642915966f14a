/** A visit of the 2025-11 web client, call by call in its own order, against the product with a real agent-server. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { FrontendCall, Page } from '../support/frontend-call.js';
import { VISIT } from '../support/frontend-calls.js';
import { GITHUB_TOKEN, GitHubHost } from '../support/git-hosts/github-host.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';
import { SocketClient } from '../support/socket-client.js';

const PATIENCE = { timeout: 90_000, interval: 200 };
const COMMIT = 'git -c user.name=a -c user.email=a@b commit -q --allow-empty -m start';

let llm: ScriptedLlm;
let github: GitHubHost;
let product: Product;
const page = {} as Page;

beforeAll(async () => {
  llm = await startScriptedLlm({
    steps: [runInTerminal(`git init -q && ${COMMIT} && echo hi > hello.txt`), finish('Wrote hello.txt')],
  });
  github = await gitHubWithSomeOfEach();
  product = await startProduct({ env: { CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS: github.url } });
  const gitHost = { url: github.url, token: GITHUB_TOKEN };
  Object.assign(page, { directory: product.directory, modelUrl: llm.url, gitHost });
});
afterAll(async () => {
  await product?.stop();
  await Promise.all([llm?.close(), github?.close()]);
});

async function gitHubWithSomeOfEach(): Promise<GitHubHost> {
  const host = await new GitHubHost().listen();
  host.installations = [5];
  host.files = {
    '.openhands/microagents/review.md': '---\nname: review\ntriggers:\n- lgtm\n---\nLook closely.\n',
  };
  const issue = { number: 1, title: 'Too loud', repository: { nameWithOwner: 'acme/rocket-1' } };
  // The answers to the questions for branches and for tasks, in one.
  const branch = { name: 'main', target: { oid: 'c0ffee', committedDate: '2026-01-02T03:04:05Z' } };
  host.graphql = {
    data: {
      viewer: { pullRequests: { nodes: [] } },
      search: { nodes: [issue] },
      repository: { refs: { nodes: [branch] } },
    },
  };
  return host;
}

/** One call as the client makes it. */
async function make({ request, body, runtime }: FrontendCall): Promise<{ status: number; body: unknown }> {
  const [method = '', path = ''] = (typeof request === 'string' ? request : request(page)).split(' ');
  const sent = body?.(page);
  const form = sent instanceof FormData;
  // Of the conversation's address only the host counts.
  const base = runtime ? `http://${new URL(page.url).host}` : product.url;
  const response = await fetch(`${base}${path}`, {
    method,
    headers: {
      ...(runtime ? { 'X-Session-API-Key': page.key } : {}),
      ...(sent === undefined || form ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(sent === undefined ? {} : { body: form ? sent : JSON.stringify(sent) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
}

/** Everything that a path of members leads to; fails where one is not there. */
function read(value: unknown, path: readonly string[], whole: string): void {
  const [name, ...rest] = path;
  if (name === undefined) return;
  if (name === '[]') {
    expect(Array.isArray(value) && value.length > 0, `${whole}: there is nothing in the list`).toBe(true);
    for (const item of value as unknown[]) read(item, rest, whole);
  } else {
    expect(value, whole).toEqual(
      expect.objectContaining({ [name]: expect.toSatisfy(() => true) as unknown }),
    );
    read((value as Record<string, unknown>)[name], rest, whole);
  }
}

async function check(call: FrontendCall): Promise<void> {
  const attempt = async () => {
    const { status, body } = await make(call);
    const text = JSON.stringify(body);
    if (call.status === undefined) expect(status >= 200 && status < 300, `${status}: ${text}`).toBe(true);
    else expect(status, text).toBe(call.status);
    call.until?.(body);
    return body;
  };
  const body = await (call.until ? vi.waitFor(attempt, PATIENCE) : attempt());
  for (const member of call.reads ?? []) read(body, member.split('.'), member);
  call.keep?.(page, body);
}

const calls = (part: readonly FrontendCall[]): void => {
  it.each(part)('$call', check);
};

/** 46: the socket of a conversation, with everything that is in its log. */
const openSocket = (id: string): Promise<SocketClient> =>
  SocketClient.open(
    `${product.url}/sockets/events/${id}?resend_all=true&session_api_key=${encodeURIComponent(page.key)}`,
  );
type Frame = Record<string, unknown> & { kind: string };
const eventsOf = ({ texts }: SocketClient) => texts.map((text) => JSON.parse(text) as Frame);
const statusOf = (socket: SocketClient): unknown =>
  eventsOf(socket).reduce<unknown>((status, { key, value }) => {
    if (key === 'full_state') return (value as Record<string, unknown>)['execution_status'];
    return key === 'execution_status' ? value : status;
  }, null);
const untilStatus = (socket: SocketClient, status: string) =>
  vi.waitFor(() => expect(statusOf(socket)).toBe(status), PATIENCE);

describe('a visit of the 2025-11 web client', () => {
  let socket: SocketClient;

  describe('loads the page', () => calls(VISIT.LOADING));
  describe('changes settings and secrets', () => calls(VISIT.SETTING_UP));
  describe('picks a repository', () => calls(VISIT.PICKING));
  describe('starts and opens a conversation', () => calls(VISIT.STARTING));

  describe('talks', () => {
    it('46 the socket opens and shows what the agent wants to do', async () => {
      socket = await openSocket(page.id);
      await untilStatus(socket, 'waiting_for_confirmation');
      for (const event of eventsOf(socket)) {
        expect(event).toMatchObject({
          id: expect.stringMatching(/./) as string,
          timestamp: expect.stringMatching(/./) as string,
          source: expect.stringMatching(/^(agent|user|environment)$/) as string,
          kind: expect.stringMatching(/./) as string,
        });
      }
    });
    it('45 no more events are counted than the socket has brought', async () => {
      const { status, body } = await product.call<number>(
        'GET',
        `/api/v1/events/count?conversation_id__eq=${page.id}`,
      );
      expect(status).toBe(200);
      expect(body).toBeGreaterThan(0);
      expect(body).toBeLessThanOrEqual(socket.texts.length);
    });
    it.each(VISIT.CONFIRMING)('$call', (call) =>
      vi.waitFor(async () => {
        await check(call);
        // Agent-servers overlook an agreement while the run that asked for it is still ending.
        const noticed = () => expect(statusOf(socket)).not.toBe('waiting_for_confirmation');
        await vi.waitFor(noticed, { timeout: 3_000, interval: 50 });
      }, PATIENCE),
    );
    it('46 the agent finishes, and another message goes over the socket', async () => {
      await untilStatus(socket, 'finished');
      expect(eventsOf(socket).map(({ kind }) => kind)).toEqual(
        expect.arrayContaining(['SystemPromptEvent', 'MessageEvent', 'ActionEvent', 'ObservationEvent']),
      );
      socket.socket.send(JSON.stringify({ role: 'user', content: [{ type: 'text', text: 'and now?' }] }));
      await vi.waitFor(() => expect(socket.texts.join('')).toContain('and now?'), PATIENCE);
    });
  });

  describe('looks at the work', () => calls(VISIT.LOOKING));

  describe('plans beside it', () => {
    calls(VISIT.PLANNING);
    it('46 a second socket opens, with the key of the parent', async () => {
      const second = await openSocket(page.child);
      await vi.waitFor(() => expect(statusOf(second)).not.toBeNull(), PATIENCE);
      second.socket.close(1000);
      expect((await second.closed).code).toBe(1000);
    });
  });

  describe('pauses and resumes', () => {
    calls(VISIT.SLEEPING);
    it('46 the first socket was closed, so that the page connects again', async () => {
      expect((await socket.closed).code).not.toBe(1000);
    });
  });

  describe('deletes it and leaves', () => calls(VISIT.LEAVING));
});
