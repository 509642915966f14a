/** A server on which everybody can have one of each thing, and what they show; for the cases of the contract. */
import { eq } from 'drizzle-orm';
import type { AddressInfo } from 'node:net';
import { dashedId } from '../../contract/ids.js';
import type { Branch, GitUser, Repository, SuggestedTask } from '../../contract/git.js';
import { conversations } from '../../db/schema/index.js';
import { AccessTokens } from '../../identity/access-token.js';
import { OPERATOR_KEY, type Asking, type ContractCase } from './contract-cases/case.js';
import { discoveryServer } from './discovery-server.js';
import { FakeSocketServer, type SeenRequest } from './fake-socket-server.js';
import { startIdentityServer } from './identity-server.js';
import { stop } from './loopback.js';
import { obedientParts } from './obedient-parts.js';
import { oneOfEach } from './one-of-each.js';
import { addOrganization, addPerson, MULTI_USER, signedIn } from './people.js';
import { recordedLog } from './recorded.js';
import { insertConversation, newId } from './rows.js';

const SERVICE_KEY = 'shared secret of the automations';

export interface ContractWorld {
  /** Sends a case on behalf of a new user with new things. */
  send(given: ContractCase): Promise<{ response: Response; text: string; fill: (text: string) => string }>;
  /** A new user with some of each thing, and what is shown to be let in; the owner's outlives their sessions. */
  somebodyWith(count: number): Promise<{
    things: Things[];
    headers: { owner: string } & Record<'sandbox' | 'accessToken' | 'operator' | 'service', Things>;
  }>;
  url: string;
  close(): Promise<void>;
}

/** Ids and names of one of each thing, by the names that cases have for them. */
type Things = Record<string, string>;

export async function startContractWorld(): Promise<ContractWorld> {
  const provider = await discoveryServer();
  const agentServer = await new FakeSocketServer().listen();
  agentServer.respond = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(answerOfAgentServer(request));
  };
  const server = await startIdentityServer(
    {
      ...MULTI_USER,
      OIDC_DISCOVERY_URL: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/.well-known/openid-configuration`,
      AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY,
      CALLBOARD_OPERATOR_KEY: OPERATOR_KEY,
      CALLBOARD_WRITES_PER_MINUTE: '0',
      CALLBOARD_STARTS_PER_MINUTE: '0',
    },
    undefined,
    (core) => ({ ...obedientParts(core), gitProviders: GIT_HOST }),
  );
  const { database } = server.core.connection;

  const newOwner = async () => {
    const organizationId = await addOrganization(server, newId());
    return { organizationId, userId: await addPerson(server, `user-${newId()}`, organizationId) };
  };
  const newThings = async (given?: Awaited<ReturnType<typeof newOwner>>) => {
    const { organizationId, userId } = given ?? (await newOwner());
    const title = `Conversation of ${userId}`;
    const owner = { userId, organizationId, agentServerUrl: agentServer.url, title };
    const { parameters, sessionKey } = await oneOfEach(server, owner);
    const id = parameters['conversation_id'] ?? '';
    const child_id = await insertConversation(database, {
      createdByUserId: userId,
      parentConversationId: id,
      createdAt: new Date(Date.now() + 1_000),
    });
    return {
      ...parameters,
      conversation_id: id,
      title,
      child_id,
      session_key: sessionKey,
      event_id: String(EVENTS[0]?.['id']),
      dashed_id: dashedId(id),
    };
  };

  /** What only reads can have the things of others that only read, and these have events too. */
  const newThingsToRead = async (given?: Awaited<ReturnType<typeof newOwner>>) => {
    const things = await newThings(given);
    const posted = await fetch(`${server.url}/api/v1/webhooks/events/${things.conversation_id}`, {
      method: 'POST',
      headers: { 'X-Session-API-Key': things.session_key, 'Content-Type': 'application/json' },
      body: JSON.stringify(EVENTS),
    });
    if (!posted.ok) throw new Error(`the events are refused: ${await posted.text()}`);
    const isThis = eq(conversations.id, things.conversation_id);
    await database.update(conversations).set({ metrics: METRICS }).where(isThis);
    return things;
  };
  let thingsToRead: ReturnType<typeof newThingsToRead> | undefined;

  const shownBy = async (asking: Asking, things: Record<string, string>): Promise<Record<string, string>> => {
    const { user_id: userId = '', session_key: sessionKey = '' } = things;
    switch (asking) {
      case 'owner':
        return { Cookie: await signedIn(server, userId, things['org_id']) };
      case 'newcomer':
        return { Cookie: await signedIn(server, await addPerson(server, `new-${newId()}`)) };
      case 'sandbox':
        return { 'X-Session-API-Key': sessionKey };
      case 'access token':
        return {
          'X-Access-Token': await new AccessTokens(server.core.keys).issue(
            { userId, providerType: 'github' },
            new Date(),
          ),
        };
      case 'service':
        return { 'X-Service-API-Key': SERVICE_KEY };
      case 'operator':
        return { Authorization: `Bearer ${OPERATOR_KEY}` };
      case 'nobody':
        return {};
    }
  };

  return {
    url: server.url,
    async somebodyWith(count) {
      const owner = await newOwner();
      const things: Things[] = [];
      while (things.length < count) things.push(await newThingsToRead(owner));
      const { key } = await server.identity.apiKeys.create(owner, { name: 'bearer', expiresAt: null });
      const show = (asking: Asking) => shownBy(asking, things[0] ?? {});
      const headers = {
        owner: `Bearer ${key}`,
        sandbox: await show('sandbox'),
        accessToken: await show('access token'),
        operator: await show('operator'),
        service: await show('service'),
      };
      return { things, headers };
    },
    async send({ route, as, parameters, query, body, headers, sandbox }) {
      const onlyReads = route.startsWith('GET ') && sandbox === 'RUNNING';
      const things: Record<string, string> = await (onlyReads
        ? (thingsToRead ??= newThingsToRead())
        : newThings());
      if (sandbox !== 'RUNNING') await server.core.sandboxes.setStatus(things['sandbox_id'] ?? '', sandbox);
      const fill = (text: string) =>
        text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => things[name] ?? whole);
      const [method = '', template = ''] = route.split(' ');
      const path = template.replaceAll(
        /\{(\w+)\}/g,
        (whole, name: string) => parameters[name] ?? things[name] ?? whole,
      );
      const response = await fetch(`${server.url}${path}${query === '' ? '' : `?${fill(query)}`}`, {
        method,
        redirect: 'manual',
        headers: {
          'Sec-Fetch-Site': 'same-origin',
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...(await shownBy(as, things)),
          ...headers,
        },
        // A text is sent as it is: JSON that is broken.
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : fill(JSON.stringify(body)) }),
      });
      return { response, text: await response.text(), fill };
    },
    async close() {
      await server.close();
      await agentServer.close();
      await stop(provider);
    },
  };
}

const EVENTS = recordedLog('1.34.0');
const METRICS = {
  model_name: 'openai/gpt-5',
  accumulated_cost: 0.5,
  max_budget_per_task: null,
  accumulated_token_usage: {
    model: 'openai/gpt-5',
    prompt_tokens: 1,
    completion_tokens: 2,
    cache_read_tokens: 3,
    cache_write_tokens: 4,
    reasoning_tokens: 5,
    context_window: 6,
    per_turn_token: 7,
    response_id: '',
  },
};

/** Each answer has something in it, so that there is something to compare. */
function answerOfAgentServer({ url, method }: SeenRequest): string {
  const { pathname, searchParams } = new URL(url, 'http://agent-server');
  if (pathname === '/api/file/download') return 'a line\n';
  const answers: Record<string, unknown> = {
    'GET /api/git/changes': [{ status: 'ADDED', path: 'a.txt' }],
    'GET /api/git/diff': { modified: 'new', original: 'old' },
    'GET /api/conversations': searchParams.getAll('ids').map((id) => ({ id, execution_status: 'idle' })),
    'GET /api/vscode/url': { url: 'http://127.0.0.1:8001/?tkn=key' },
    'POST /api/hooks': {
      hook_config: { pre_tool_use: [{ matcher: '*', hooks: [{ type: 'command', command: 'lint' }] }] },
    },
    'POST /api/skills': {
      skills: [{ name: 'review', type: 'knowledge', content: 'Look closely.', triggers: ['check'] }],
      sources: {},
    },
  };
  return JSON.stringify(answers[`${method} ${pathname}`] ?? { success: true });
}

const only = (item: unknown) => () => Promise.resolve({ items: [item], next: null });
const list = (item: unknown) => () => Promise.resolve([item]);
const PERSON: GitUser = {
  id: '1',
  login: 'ada',
  avatar_url: 'https://x/a.png',
  company: null,
  name: 'Ada',
  email: null,
};
const REPOSITORY: Repository = {
  id: '7',
  full_name: 'acme/rocket',
  git_provider: 'github',
  is_public: false,
  stargazers_count: 3,
  link_header: null,
  pushed_at: '2026-01-01T00:00:00Z',
  owner_type: 'organization',
  main_branch: 'main',
};
const BRANCH: Branch = { name: 'main', commit_sha: 'c0ffee', protected: true, last_push_date: null };
const TASK: SuggestedTask = {
  git_provider: 'github',
  task_type: 'OPEN_ISSUE',
  repo: 'acme/rocket',
  issue_number: 12,
  title: 'Mend it',
};
const FOLDER = '.openhands/microagents';
/** A git provider that knows every token and has one of each. */
const GIT_HOST = {
  supports: () => true,
  verify: () => Promise.resolve(true),
  open: () => ({
    provider: 'github',
    currentUser: () => Promise.resolve(PERSON),
    installations: only('42'),
    repositories: only(REPOSITORY),
    branches: only(BRANCH),
    searchRepositories: list(REPOSITORY),
    searchBranches: list(BRANCH),
    suggestedTasks: list(TASK),
    repository: () => Promise.resolve(REPOSITORY),
    isPullRequestOpen: () => Promise.resolve(true),
    listFolder: list({ name: 'review.md', path: `${FOLDER}/review.md`, isFile: true }),
    readFile: () => Promise.resolve('---\ntriggers:\n- check\n---\nLook closely.'),
  }),
};
