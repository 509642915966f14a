import { describe, expect, it } from 'vitest';
import { decodeConversation, decodeStart, isFirstGeneration } from '../../../../cli/import/source-rows.js';
import type { SourceRow } from '../../../../cli/import/source-database.js';

const ID = 'C1110001-0000-4000-8000-000000000001';
const HEX = 'c1110001000040008000000000000001';

const conversation = (row: SourceRow) =>
  decodeConversation({ conversation_id: ID, created_at: '2026-03-04 05:06:07', ...row });
const start = (row: SourceRow) =>
  decodeStart({ id: HEX, status: 'READY', request: '{}', created_at: '2026-03-04T05:06:07Z', ...row });

describe('a conversation of a Python server', () => {
  it.each<[string, SourceRow, object]>([
    [
      'a row of which little is set',
      {},
      { id: HEX, title: null, sandboxId: `imported-${HEX}`, tags: {}, prNumber: [], public: null },
    ],
    ['flags of SQLite', { public: 1 }, { public: true }],
    ['flags of PostgreSQL', { public: 'f' }, { public: false }],
    ['an owner of the 2025-11 release', { user_id: 'somebody' }, { createdByUserId: 'somebody' }],
    ['the empty owner of the 2025-11 release', { user_id: '' }, { createdByUserId: null }],
    ['the null of JSON', { tags: 'null', pr_number: 'null' }, { tags: {}, prNumber: [] }],
    ['an agent that runs', { execution_status: 'running' }, { executionStatus: 'paused' }],
    ['an agent that has finished', { execution_status: 'finished' }, { executionStatus: 'finished' }],
    [
      'a time of SQLite',
      { last_updated_at: '2026-03-04 05:06:07.890123' },
      { updatedAt: new Date('2026-03-04T05:06:07.890Z') },
    ],
    [
      'a time of PostgreSQL',
      { last_updated_at: '2026-03-04 07:06:07.5+02' },
      { updatedAt: new Date('2026-03-04T05:06:07.500Z') },
    ],
    ['no time of a change', {}, { updatedAt: new Date('2026-03-04T05:06:07Z') }],
    [
      'a provider and a trigger of another world',
      { git_provider: 'svn', trigger: 'moon' },
      { gitProvider: null, trigger: null, dropped: ['git_provider', 'trigger'] },
    ],
  ])('is read from %s', (_, row, expected) => {
    expect(conversation(row)).toMatchObject(expected);
  });

  it.each<[string, SourceRow, string]>([
    ['an id that is none', { conversation_id: 'abc' }, 'conversation_id is no UUID'],
    ['no id', { conversation_id: null }, 'it has no id'],
    ['a time that is none', { created_at: 'yesterday' }, 'created_at is no time'],
    ['JSON that was cut off', { tags: '{"secret": "x' }, 'tags is no JSON'],
  ])('is refused with %s, and no value is repeated', (_, row, sentence) => {
    expect(() => conversation(row)).toThrow(new RegExp(`^${sentence}$`));
  });

  it('of the first generation is told apart', () => {
    expect(isFirstGeneration({ conversation_version: 'V0' })).toBe(true);
    expect(isFirstGeneration({ conversation_version: 'V1' })).toBe(false);
  });
});

describe('a start of a Python server', () => {
  it.each<[string, SourceRow, object]>([
    [
      'one that led to a conversation',
      { app_conversation_id: ID },
      { status: 'READY', conversationId: HEX, appConversationId: HEX, detail: null },
    ],
    [
      'one that failed before',
      { status: 'ERROR', detail: 'why' },
      { status: 'ERROR', conversationId: HEX, appConversationId: null, detail: 'why' },
    ],
    [
      'one under way',
      { status: 'RUNNING_SETUP_SCRIPT' },
      { status: 'ERROR', detail: expect.stringContaining('start it again') as string },
    ],
    [
      'one that asked for an id',
      { request: JSON.stringify({ conversation_id: HEX }) },
      { request: { conversation_id: ID.toLowerCase() } },
    ],
    [
      'one with members of another world',
      { request: '{"trigger":"moon","title":"kept"}' },
      { request: { title: 'kept', trigger: null }, dropped: ['request.trigger'] },
    ],
  ])('is read: %s', (_, row, expected) => {
    expect(start(row)).toMatchObject(expected);
  });

  it.each<[string, SourceRow, string]>([
    ['a status of another world', { status: 'FLOATING' }, 'its status is unknown'],
    ['a request that is no object', { request: '[]' }, 'request cannot be read'],
  ])('is refused with %s', (_, row, sentence) => {
    expect(() => start(row)).toThrow(sentence);
  });
});
