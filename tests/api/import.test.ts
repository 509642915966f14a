/** `callboard import` on what real Python servers wrote, into a real database and directory, read back over the API. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  counted,
  digitsOf,
  openImportWorld,
  recordedId,
  SECRETS,
  type ImportWorld,
  type Items,
} from '../support/import/import-world.js';
import { fingerprint, recordedInPostgres, recordedPath } from '../support/import/recorded-installation.js';

describe.each([
  ['1.11.0', 'SQLite'],
  ['0.62.0', 'SQLite'],
  ['1.11.0', 'PostgreSQL'],
  ['0.62.0', 'PostgreSQL'],
] as const)('an installation of the Python server %s with %s', (version, kind) => {
  let world: ImportWorld;
  let from: { from: string; files?: string };
  let drop: () => Promise<void> = () => Promise.resolve();
  let source: string;
  let first: { status: number; said: string };

  beforeAll(async () => {
    world = await openImportWorld();
    source = recordedPath(version, 'data');
    from = { from: source };
    if (kind === 'PostgreSQL') {
      const database = await recordedInPostgres(version);
      drop = () => database.drop();
      from = { from: database.url.replace(/^postgres(ql)?:/, 'postgresql+asyncpg:'), files: source };
    }
  });
  afterAll(async () => {
    await world.close();
    await drop();
  });

  it('is taken over whole, after a dry run that says the same and changes nothing', async () => {
    const before = fingerprint(source);
    const dry = await world.take({ ...from, dryRun: true });
    expect(dry.status).toBe(0);
    expect((await world.get<Items>('app-conversations/search')).items).toEqual([]);
    expect(readdirSync(world.directory)).not.toContain('v1');

    first = await world.take(from);
    expect(first.status).toBe(0);
    for (const what of ['conversations', 'events', 'start tasks', 'settings', 'secrets', 'provider tokens']) {
      expect(counted(first.said, what), what).toEqual(counted(dry.said, what));
    }
    expect(counted(first.said, 'conversations')).toEqual([3, 0, 1, 0]);
    expect(counted(first.said, 'events')).toEqual([6, 0, 1, 0]);
    expect(counted(first.said, 'start tasks')).toEqual([3, 0, 0, 0]);
    expect(counted(first.said, 'settings')).toEqual([1, 0, 0, 0]);
    expect(counted(first.said, 'secrets')).toEqual([2, 0, 0, 0]);
    expect(counted(first.said, 'provider tokens')).toEqual([3, 0, 0, 0]);
    expect(counted(first.said, 'callbacks')).toEqual([0, 0, 2, 0]);
    expect(first.said).toContain('first generation');
    expect(fingerprint(source)).toBe(before);
  });

  it('shows its conversations with a sandbox that is missing', async () => {
    const [conversation] = await world.get<Record<string, unknown>[]>(
      `app-conversations?ids=${recordedId('c', version, 1)}`,
    );
    expect(conversation).toMatchObject({
      title: `Marked conversation of ${version.slice(0, 4)}`,
      created_by_user_id: null,
      sandbox_id: `oh-agent-server-marked${digitsOf(version)}`,
      sandbox_status: 'MISSING',
      selected_repository: 'acme/stage',
      selected_branch: 'main',
      git_provider: 'github',
      trigger: 'gui',
      pr_number: [7, 12],
      llm_model: `openai/marked-${digitsOf(version)}`,
      created_at: '2026-03-04T05:06:07.890000Z',
      updated_at: '2026-03-04T05:15:07.890000Z',
      conversation_url: null,
      session_api_key: null,
      tags: version === '1.11.0' ? { team: 'blue-111' } : {},
      public: version === '1.11.0' ? true : null,
      sub_conversation_ids: version === '1.11.0' ? [recordedId('c', version, 2)] : [],
    });
    expect(conversation?.['metrics']).toMatchObject({
      accumulated_cost: 1.25,
      max_budget_per_task: 4.5,
      accumulated_token_usage: {
        prompt_tokens: 100,
        completion_tokens: 20,
        cache_read_tokens: 3,
        context_window: 4096,
      },
    });
  });

  it('shows their events as the old server had them', async () => {
    const found = await world.get<Items>(`conversation/${recordedId('c', version, 1)}/events/search`);
    expect(found.items.map(({ id, kind: eventKind }) => [id, eventKind])).toEqual([
      [dashed(recordedId('e', version, 1)), 'MessageEvent'],
      [dashed(recordedId('e', version, 2)), 'MessageEvent'],
      [dashed(recordedId('e', version, 3)), 'ConversationStateUpdateEvent'],
      [dashed(recordedId('e', version, 4)), 'PauseEvent'],
    ]);
    expect(JSON.stringify(found.items[0])).toContain('ünïcode 🎭');
    const recorded = recordedEvents(source);
    for (const event of found.items) expect(event).toEqual(recorded.get(event['id'] as string));
  });

  it('says of itself that it takes no messages any more', async () => {
    const answer = await world.post(`app-conversations/${recordedId('c', version, 1)}/send-message`, {
      role: 'user',
      content: [{ type: 'text', text: 'Are you there?' }],
    });
    expect(answer.status).toBe(410);
  });

  it('shows its starts, and those it had not finished as failed', async () => {
    const { items } = await world.get<Items>('app-conversations/start-tasks/search');
    const byId = new Map(items.map((item) => [item['id'], item]));
    expect(byId.get(recordedId('a', version, 1))).toMatchObject({
      status: 'READY',
      app_conversation_id: recordedId('c', version, 1),
      created_at: '2026-03-04T05:07:07.890000Z',
      request: { selected_repository: 'acme/stage', git_provider: 'github' },
    });
    expect(byId.get(recordedId('a', version, 2))).toMatchObject({
      status: 'ERROR',
      detail: 'Sandbox failed to start within 120s',
    });
    expect(byId.get(recordedId('a', version, 3))).toMatchObject({
      status: 'ERROR',
      detail: expect.stringContaining('start it again') as string,
    });
    expect(JSON.stringify(items)).not.toContain('marked-start-secret');
  });

  it('has its settings, tokens and secrets in force, and none of them shown', async () => {
    const settings = await world.get('settings');
    expect(settings).toMatchObject({
      language: 'de',
      git_user_name: 'Marked Name',
      llm_api_key_set: true,
      search_api_key_set: true,
      provider_tokens_set: { github: null, gitlab: 'gitlab.example.com', enterprise_sso: null },
      conversation_settings: { max_iterations: 77, confirmation_mode: true },
      agent_settings: { llm: { model: 'openai/marked-model', base_url: 'https://llm.example.com/v1' } },
    });
    const { items } = await world.get<Items>('secrets/search');
    expect(items).toEqual([
      { name: 'MARKED_SECRET', description: 'A marked secret' },
      { name: 'OTHER_SECRET', description: null },
    ]);
    const { secrets } = world.server.core;
    expect(await secrets.readCustomValue(null, 'MARKED_SECRET')).toBe(
      `marked-secret-value-${digitsOf(version)}`,
    );
    expect((await secrets.providerTokens(null)).get('github')).toMatchObject({
      token: `ghp_markedGithubToken${digitsOf(version)}`,
      userId: '42',
    });
    expect(first.said).not.toMatch(SECRETS);
    expect(world.server.log.join('')).not.toMatch(SECRETS);
    expect(JSON.stringify(settings)).not.toMatch(SECRETS);
  });

  it('is found to be there when it is taken over again', async () => {
    const before = fingerprint(world.directory);
    const again = await world.take(from);
    expect(again.status).toBe(0);
    for (const [what, count] of [
      ['conversations', 3],
      ['events', 6],
      ['start tasks', 3],
      ['settings', 1],
      ['secrets', 2],
      ['provider tokens', 3],
    ] as const) {
      expect(counted(again.said, what).slice(0, 2), what).toEqual([0, count]);
    }
    expect(fingerprint(world.directory)).toBe(before);
  });
});

const dashed = (hex: string): string => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

/** Events of an installation by their id, as its files have them. */
function recordedEvents(directory: string): Map<string, unknown> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /\/(v1_conversations|events)\//.test(`${entry.parentPath}/`),
  );
  return new Map(
    files.map((entry) => {
      const event = JSON.parse(readFileSync(join(entry.parentPath, entry.name), 'utf8')) as { id: string };
      return [event.id, event];
    }),
  );
}
