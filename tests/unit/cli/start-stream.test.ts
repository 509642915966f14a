import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventLine, executionStatusOf } from '../../../cli/client/event-line.js';
import { startTasksOf } from '../../../cli/client/start-stream.js';

const encode = (text: string) => new TextEncoder().encode(text);

async function collect(pieces: string[]): Promise<unknown[]> {
  const chunks = (async function* () {
    for (const piece of pieces) yield encode(piece);
  })();
  const tasks: unknown[] = [];
  for await (const task of startTasksOf(chunks)) tasks.push(task);
  return tasks;
}

describe('the start stream as a terminal reads it', () => {
  it('brings each task as soon as its piece has come', async () => {
    const seen: unknown[] = [];
    const chunks = (async function* () {
      yield encode('[\n{"id":"a","status":"WORKING"}');
      expect(seen).toHaveLength(1);
      yield encode(',\n{"id":"a","status":"READY"}');
      expect(seen).toHaveLength(2);
      yield encode(']');
    })();
    for await (const task of startTasksOf(chunks)) seen.push(task);
    expect(seen).toHaveLength(2);
  });

  it('is the same wherever the network cuts it', async () => {
    const tasks = [
      { id: 'a', detail: 'x ] , [ "quoted" }', status: 'WORKING' },
      { id: 'a', detail: 'ümlaut', status: 'ERROR' },
    ];
    const text = `[\n${tasks.map((task) => JSON.stringify(task)).join(',\n')}]`;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 6 }), async (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = places.slice(1).map((end, index) => text.slice(places[index], end));
        expect(await collect(pieces)).toEqual(tasks);
      }),
    );
  });
});

describe('an event as a terminal shows it', () => {
  it('is what the agent says, does and sees', () => {
    expect(
      eventLine({
        kind: 'MessageEvent',
        source: 'agent',
        llm_message: { content: [{ type: 'text', text: 'Hello' }] },
      }),
    ).toBe('agent: Hello');
    expect(eventLine({ kind: 'ActionEvent', tool_name: 'terminal', action: { command: 'ls -l' } })).toBe(
      'terminal: ls -l',
    );
    expect(
      eventLine({
        kind: 'ObservationEvent',
        tool_name: 'terminal',
        observation: { content: [{ text: 'a\nb' }] },
      }),
    ).toBe('  a\n  b');
    expect(eventLine({ kind: 'ConversationStateUpdateEvent', key: 'stats', value: {} })).toBeNull();
  });

  it('tells the status of the run, alone or in a snapshot', () => {
    const kind = 'ConversationStateUpdateEvent';
    expect(executionStatusOf({ kind, key: 'execution_status', value: 'finished' })).toBe('finished');
    expect(executionStatusOf({ kind, key: 'full_state', value: { execution_status: 'idle' } })).toBe('idle');
    expect(executionStatusOf({ kind, key: 'stats', value: {} })).toBeNull();
  });
});
