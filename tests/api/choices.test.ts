import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { choiceRoutes } from '../../api/choice-routes.js';
import { VERIFIED_MODELS } from '../../api/data.js';
import { skillRoutes } from '../../api/skill-routes.js';
import { createSkillShelf } from '../../api/skill-shelf.js';
import { NO_TOKENS } from '../../identity/auth-strategy.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let api: TestServer;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'callboard-choices-'));
  await mkdir(join(directory, 'user'));
  await Promise.all([
    writeFile(join(directory, 'b-always.md'), 'Be kind.\n'),
    writeFile(join(directory, 'deploy.md'), '---\ntriggers: [ship it]\n---\nShip.\n'),
    writeFile(join(directory, 'review.md'), '---\ntriggers: [/review]\n---\nLook.\n'),
    writeFile(join(directory, 'broken.md'), '---\ntriggers: {\n---\nLook.\n'),
    writeFile(join(directory, 'user', 'b-always.md'), 'Be quick.\n'),
  ]);
  api = await startTestServer(
    [
      ...choiceRoutes({ instanceModel: 'openai/scripted' }),
      ...skillRoutes({
        skills: createSkillShelf(),
        directories: { global: [directory], user: [join(directory, 'user'), join(directory, 'nowhere')] },
      }),
    ],
    {
      auth: {
        authenticate: (headers) =>
          Promise.resolve({
            userId: (headers['x-test-user'] as string | undefined) ?? null,
            authType: headers['x-test-user'] ? 'bearer' : 'none',
            tokens: NO_TOKENS,
          }),
      },
    },
  );
});
afterAll(async () => {
  await api.close();
  await rm(directory, { recursive: true, force: true });
});

interface Item {
  provider?: string | null;
  name: string;
  verified: boolean;
}
async function get(path: string, headers: Record<string, string> = {}) {
  const response = await api.fetch(`/api/v1/${path}`, { headers });
  const body = (await response.json()) as { items: Item[]; next_page_id: string | null };
  return { status: response.status, ...body };
}

/** All items over all pages. */
async function all(path: string): Promise<Item[]> {
  const items: Item[] = [];
  let pageId: string | null = '';
  while (pageId !== null) {
    const page = await get(`${path}&page_id=${pageId}`);
    items.push(...page.items);
    pageId = page.next_page_id;
  }
  return items;
}

const whole = ({ provider, name }: Item) => (provider === null ? name : `${provider}/${name}`);

describe('models', () => {
  it('are those that are known, verified ones marked, each once, over pages', async () => {
    const first = await get('config/models/search');
    expect(first.items).toHaveLength(50);
    expect(first.next_page_id).toBe(Buffer.from('50').toString('base64url'));
    expect(first.items[0]).toEqual({
      provider: expect.any(String) as string,
      name: expect.any(String) as string,
      verified: false,
      hidden: false,
      canonical: null,
    });
    const models = await all('config/models/search?limit=100');
    const names = models.map(whole);
    expect(names.length).toBeGreaterThan(1_000);
    expect(names).toEqual([...new Set(names)].sort());
    const verified = Object.entries(VERIFIED_MODELS).flatMap(([provider, known]) =>
      known.map((name) => `${provider}/${name}`),
    );
    expect(models.filter((model) => model.verified).map(whole)).toEqual([...new Set(verified)].sort());
    expect(names).toContain('openai/scripted');
  });

  it('are narrowed down by part of the name, provider and verification', async () => {
    const found = await all('config/models/search?query=CLAUDE&provider__eq=anthropic&verified__eq=true');
    expect(found.length).toBeGreaterThan(0);
    for (const { provider, name, verified } of found) {
      expect([provider, verified]).toEqual(['anthropic', true]);
      expect(name).toContain('claude');
    }
    // The provider is no part of the name, and no pattern.
    expect(await all('config/models/search?query=anthropic/&provider__eq=anthropic')).toEqual([]);
    expect(await all('config/models/search?query=%25')).toEqual([]);
    expect((await all('config/models/search?verified__eq=no&limit=100')).some((one) => one.verified)).toBe(
      false,
    );
  });

  it('begin anew at a cursor that cannot be read, and refuse more than a hundred', async () => {
    const first = await get('config/models/search?limit=2');
    expect(await get('config/models/search?limit=2&page_id=nonsense')).toEqual(first);
    expect((await get('config/models/search?limit=101')).status).toBe(422);
    expect((await get('config/models/search?limit=0')).status).toBe(422);
    expect((await get('config/models/search?verified__eq=perhaps')).status).toBe(422);
  });
});

it('providers are named once: its own first, then those that were tried, then the others, by name', async () => {
  const providers = await all('config/providers/search?limit=10');
  expect(providers[0]).toEqual({ name: 'openhands', verified: true });
  const rest = providers.slice(1);
  const tried = rest.filter(({ verified }) => verified);
  expect(tried.map(({ name }) => name).sort()).toEqual(
    Object.keys(VERIFIED_MODELS)
      .filter((name) => name !== 'openhands')
      .sort(),
  );
  expect(rest.map(({ name }) => name)).toEqual([
    ...tried.map(({ name }) => name).sort(),
    ...rest
      .filter(({ verified }) => !verified)
      .map(({ name }) => name)
      .sort(),
  ]);
  expect(
    (await all('config/providers/search?query=OPENAI&verified__eq=true')).map(({ name }) => name),
  ).toEqual(['openai']);
});

describe('skills of the server', () => {
  const GLOBAL = [
    { name: 'b-always', type: 'repo', source: 'global', triggers: null },
    { name: 'deploy', type: 'knowledge', source: 'global', triggers: ['ship it'] },
    { name: 'review', type: 'task', source: 'global', triggers: ['/review'] },
  ];

  it('are listed by source and name, over pages', async () => {
    const user = { name: 'b-always', type: 'repo', source: 'user', triggers: null };
    expect(await get('skills/search')).toEqual({ status: 200, items: [...GLOBAL, user], next_page_id: null });
    const first = await get('skills/search?limit=2');
    expect(first.items).toEqual(GLOBAL.slice(0, 2));
    const second = await get(`skills/search?limit=2&page_id=${encodeURIComponent(first.next_page_id ?? '')}`);
    expect(second).toMatchObject({ items: [GLOBAL[2], user], next_page_id: null });
  });

  it('are those for everybody where people sign in', async () => {
    expect((await get('skills/search', { 'x-test-user': 'ann' })).items).toEqual(GLOBAL);
  });
});
