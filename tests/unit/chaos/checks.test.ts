import { describe, expect, it } from 'vitest';
import { Books } from '../../chaos/books.js';
import { check } from '../../chaos/checks.js';
import { DEFAULTS } from '../../chaos/options.js';
import { makePlan } from '../../chaos/plan.js';
import type { Snapshot } from '../../chaos/snapshot.js';
import type { LedgerEntry, LedgerLine } from '../../support/light-agent-server/ledger.js';

const line = (entry: LedgerEntry): LedgerLine => ({ at: 1, pid: 7, sandbox: 'box', ...entry });

/** An installation with one start, one sandbox, one event and one message, in which everything is right. */
function sound(): { snapshot: Snapshot; books: Books } {
  const books = new Books();
  books.accept('task', 0, 'key');
  books.conversations.set('task', 'talk');
  books.messages.push({ life: 0, text: 'hello', via: 'send-message', taskId: 'task' });
  const snapshot: Snapshot = {
    tasks: [
      {
        id: 'task',
        conversation_id: 'talk',
        status: 'READY',
        detail: null,
        sandbox_id: 'box',
        app_conversation_id: 'talk',
      },
    ],
    sandboxes: [
      { id: 'box', status: 'RUNNING', deleted: false, warm: false },
      { id: 'spare', status: 'RUNNING', deleted: false, warm: true },
    ],
    conversations: [{ id: 'talk', sandbox_id: 'box', execution_status: 'finished', deleted: false }],
    events: [
      {
        conversation_id: 'talk',
        event_id: 'e1',
        kind: 'MessageEvent',
        file_name: 'f1',
        digest: 'd1',
        text: 'hello',
      },
    ],
    callbacks: [
      {
        id: 'call',
        conversation_id: 'talk',
        processor_kind: 'LoggingCallbackProcessor',
        event_kind: 'MessageEvent',
        status: 'ACTIVE',
      },
    ],
    results: [{ callback_id: 'call', event_id: 'e1' }],
    queued: 0,
    pending: [],
    leases: [{ sandbox_id: 'box', port: 1 }],
    files: new Map([['talk', ['f1']]]),
    processes: [
      { pid: 7, sandboxId: 'box', state: 'running', server: true },
      { pid: 9, sandboxId: 'spare', state: 'running', server: true },
    ],
    directories: ['box', 'spare'],
    workflows: ['sandbox/box', 'sandbox/spare'],
    ledger: [
      line({ what: 'created', conversation: 'talk' }),
      line({ what: 'event', conversation: 'talk', event: 'e1', digest: 'd1' }),
      line({ what: 'message', conversation: 'talk', event: 'e1', text: 'hello' }),
      line({ what: 'acknowledged', conversation: 'talk', events: ['e1'] }),
    ],
  };
  return { snapshot, books };
}

type Damage = (snapshot: Snapshot, books: Books) => unknown;

const CASES: [string, string, Damage][] = [
  ['a start without a task', 'lost', (s) => (s.tasks = [])],
  ['a start that does not end', 'stuck', (s) => (s.tasks[0]!.status = 'WORKING')],
  ['an ERROR without a reason', 'stuck', (s) => Object.assign(s.tasks[0]!, { status: 'ERROR', detail: '' })],
  ['a key with two tasks', 'doubled', (_s, b) => b.accept('other', 0, 'key')],
  [
    'two tasks of one conversation',
    'doubled',
    (s) => s.tasks.push({ ...s.tasks[0]!, id: 'other', sandbox_id: null }),
  ],
  ['a workflow that still runs', 'stuck', (s) => s.workflows.push('start-task/task')],
  ['an acknowledged event that is not stored', 'lost', (s) => (s.events = [])],
  ['an event that has changed', 'lost', (s) => (s.events[0]!.digest = 'other')],
  ['an event whose file is gone', 'lost', (s) => (s.events[0]!.digest = null)],
  [
    'an event of a running agent-server that nobody has fetched',
    'lost',
    (s) => s.ledger.push(line({ what: 'event', conversation: 'talk', event: 'e2', digest: 'd2' })),
  ],
  ['a file without an index entry', 'orphaned', (s) => s.files.get('talk')!.push('f2')],
  ['a callback without a result', 'lost', (s) => (s.results = [])],
  ['a callback with two results', 'doubled', (s) => s.results.push(s.results[0]!)],
  ['a callback that waits', 'stuck', (s) => (s.queued = 1)],
  [
    'a message that did not arrive',
    'lost',
    (_s, b) => b.messages.push({ life: 0, text: 'and?', via: 'pending', taskId: 'task' }),
  ],
  [
    'a message that arrived twice',
    'doubled',
    (s) => s.ledger.push(line({ what: 'message', conversation: 'talk', event: 'e9', text: 'hello' })),
  ],
  [
    'messages in the wrong order',
    'lost',
    (s, b) => {
      b.messages.unshift({ life: 0, text: 'first', via: 'pending', taskId: 'task' });
      s.ledger.push(line({ what: 'message', conversation: 'talk', event: 'e9', text: 'first' }));
    },
  ],
  ['a process without a sandbox', 'orphaned', (s) => (s.processes[0]!.sandboxId = 'other')],
  ['a directory without a sandbox', 'orphaned', (s) => s.directories.push('other')],
  ['a port without a sandbox', 'orphaned', (s) => s.leases.push({ sandbox_id: 'other', port: 2 })],
  ['an actor without a sandbox', 'orphaned', (s) => s.workflows.push('sandbox/other')],
  ['a sandbox without an actor', 'orphaned', (s) => (s.workflows = [])],
  ['a deleted sandbox that is still there', 'stuck', (_s, b) => b.goneSandboxes.add('box')],
  ['a RUNNING sandbox without a process', 'stuck', (s) => (s.processes = [])],
  ['a PAUSED sandbox that runs', 'stuck', (s) => (s.sandboxes[0]!.status = 'PAUSED')],
  ['two agent-servers in one sandbox', 'doubled', (s) => s.processes.push({ ...s.processes[0]!, pid: 8 })],
  [
    'a conversation in two sandboxes',
    'doubled',
    (s, b) => {
      b.ownSandboxes.add('box2');
      s.sandboxes.push({ id: 'box2', status: 'PAUSED', deleted: false, warm: false });
      s.workflows.push('sandbox/box2');
      s.ledger.push({ ...line({ what: 'created', conversation: 'talk' }), sandbox: 'box2' });
    },
  ],
  [
    'a sandbox that nobody asked for',
    'doubled',
    (s) => {
      s.sandboxes.push({ id: 'box2', status: 'PAUSED', deleted: false, warm: false });
      s.workflows.push('sandbox/box2');
    },
  ],
  ['a wrong answer', 'wrong answer', (_s, b) => b.wrongAnswers.push('GET /: 500')],
  ['a request without an answer', 'stuck', (_s, b) => b.hangs.push('GET /')],
];

describe('the checks of a chaos run', () => {
  it('find nothing where everything is right', () => {
    const { snapshot, books } = sound();
    expect(check(snapshot, books)).toEqual([]);
  });

  it.each(CASES)('see %s', (_name, is, damage) => {
    const { snapshot, books } = sound();
    damage(snapshot, books);
    expect(check(snapshot, books).map((violation) => violation.is)).toContain(is);
  });
});

describe('the plan of a chaos run', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(makePlan(DEFAULTS)).toEqual(makePlan(DEFAULTS));
    expect(makePlan({ ...DEFAULTS, seed: 2 }).fingerprint).not.toBe(makePlan(DEFAULTS).fingerprint);
  });

  it('has as many starts, real ones and faults as asked for', () => {
    const { lives, faults } = makePlan(DEFAULTS);
    expect(lives).toHaveLength(DEFAULTS.starts);
    expect(lives.filter(({ real }) => real)).toHaveLength(DEFAULTS.real);
    expect(faults).toHaveLength(DEFAULTS.faults);
    expect(faults.filter(({ durationMs }) => durationMs >= 60_000)).toHaveLength(3);
  });
});
