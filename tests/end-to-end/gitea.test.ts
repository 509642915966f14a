import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endOfStart, postStart, readConversation, sandboxesOf } from '../support/conversations.js';
import { Gitea } from '../support/gitea.js';
import { startProduct, type Product } from '../support/product.js';

/** The git provider is a real Gitea server, with pages of two. */
describe('with a Gitea server', () => {
  let gitea: Gitea;
  let product: Product;
  let token: string;

  beforeAll(async () => {
    gitea = await Gitea.start();
    const stranger = await gitea.addUser('grace');
    token = await gitea.addUser('ada');
    for (const name of ['engine', 'looms', 'tables']) {
      await gitea.call(token, 'POST', '/user/repos', { name, private: name === 'engine', auto_init: true });
    }
    await gitea.call(stranger, 'POST', '/user/repos', { name: 'compiler', auto_init: true });
    const agent = '---\nname: punch\ntriggers:\n- cards\n---\nPunch cards.\n';
    await gitea.write(token, 'ada/engine', '.openhands/microagents/punch.md', agent);
    for (const branch of ['note-a', 'note-b', 'note-g']) {
      await gitea.write(token, 'ada/engine', `${branch}.txt`, 'text', branch);
    }
    await gitea.call(token, 'POST', '/repos/ada/looms/issues', { title: 'Too loud', assignees: ['ada'] });
    product = await startProduct({
      env: { CALLBOARD_GIT_VERIFY_TOKENS: 'true', CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS: gitea.url },
    });
  }, 420_000);
  afterAll(async () => {
    await product?.stop();
    await gitea?.close();
  });

  const store = (value: string) =>
    product.call('POST', '/api/v1/secrets/git-providers', {
      provider_tokens: { forgejo: { token: value, host: gitea.url } },
    });
  const get = async (path: string): Promise<unknown> => {
    const { status, body } = await product.call('GET', path);
    expect(status, JSON.stringify(body)).toBe(200);
    return body;
  };
  /** What all pages of a list hold. */
  async function everyItem<Item>(path: string): Promise<Item[]> {
    const items: Item[] = [];
    let next: string | null = '';
    while (next !== null) {
      const page: string = next === '' ? '' : `&page_id=${encodeURIComponent(next)}`;
      const body = (await get(`${path}${page}`)) as { items: Item[]; next_page_id: string | null };
      items.push(...body.items);
      next = body.next_page_id;
    }
    return items;
  }
  const names = (items: { full_name?: string; name?: string }[]) =>
    items.map(({ full_name: fullName, name }) => fullName ?? name).sort();

  it('stores a token that it knows, and no other', async () => {
    expect(await store('0123456789012345678901234567890123456789')).toMatchObject({ status: 401 });
    expect(await store(token)).toMatchObject({ status: 200 });
    expect(await get('/api/v1/users/git-info')).toMatchObject({ login: 'ada', email: 'ada@tests.example' });
  });

  it('lists repositories page by page, and searches them', async () => {
    const mine = await everyItem<{ full_name: string }>(
      '/api/v1/git/repositories/search?provider=forgejo&limit=2',
    );
    expect(names(mine)).toEqual(['ada/engine', 'ada/looms', 'ada/tables']);
    expect(mine.find(({ full_name: name }) => name === 'ada/engine')).toMatchObject({
      git_provider: 'forgejo',
      is_public: false,
      main_branch: 'main',
    });
    const found = await everyItem<{ full_name: string }>(
      '/api/v1/git/repositories/search?provider=forgejo&query=compil',
    );
    expect(names(found)).toEqual(['grace/compiler']);
    const legacy = (await get('/api/user/repositories?selected_provider=forgejo&per_page=2')) as {
      full_name: string;
      link_header: string | null;
    }[];
    expect(legacy).toHaveLength(2);
    expect(legacy[0]?.link_header).toMatch(/rel="next"/);
  });

  it('lists branches page by page, and searches them', async () => {
    const path = '/api/v1/git/branches/search?provider=forgejo&repository=ada/engine';
    expect(names(await everyItem(`${path}&limit=2&query=`))).toEqual(['main', 'note-a', 'note-b', 'note-g']);
    expect(names(await everyItem(`${path}&limit=10&query=OTE-`))).toEqual(['note-a', 'note-b', 'note-g']);
  });

  it('suggests what is assigned, and reads microagents', async () => {
    expect(await get('/api/user/suggested-tasks')).toEqual([
      {
        git_provider: 'forgejo',
        task_type: 'OPEN_ISSUE',
        repo: 'ada/looms',
        issue_number: 1,
        title: 'Too loud',
      },
    ]);
    const path = '/api/user/repository/ada/engine/microagents';
    expect(await get(path)).toMatchObject([{ name: 'punch', git_provider: 'forgejo' }]);
    expect(await get(`${path}/content?file_path=.openhands/microagents/punch.md`)).toMatchObject({
      content: expect.stringContaining('Punch cards.') as string,
      triggers: ['cards'],
    });
  });

  it('clones a private repository, and leaves the token nowhere', async () => {
    const { id } = await postStart(product, {
      selected_repository: 'ada/engine',
      selected_branch: 'note-a',
      git_provider: 'forgejo',
    });
    const task = await endOfStart(product, id);
    expect(task).toMatchObject({ status: 'READY' });
    const { sandbox_id: sandbox } = await readConversation(product, task.app_conversation_id!);
    const clone = join(product.directory, 'host/sandboxes', sandbox, 'workspace/project/engine');
    expect(readFileSync(join(clone, 'note-a.txt'), 'utf8')).toBe('text');
    expect(readFileSync(join(clone, '.git/config'), 'utf8')).not.toContain(token);
    expect(`${product.api.output}${product.worker.output}`).not.toContain(token);
    expect(await sandboxesOf(product)).toHaveLength(1);
  });
});
