import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SandboxCondition, SandboxHandle } from '../../../sandboxes/backend.js';
import { createHostWatcher, type SandboxChange } from '../../../sandboxes/host-watcher.js';

const handle: SandboxHandle = {
  backend: 'process',
  port: 1,
  url: 'http://127.0.0.1:1',
  workingDirectory: '/w',
};
const RUNNING: SandboxCondition = { state: 'running' };
const PAUSED: SandboxCondition = { state: 'paused' };
const GONE: SandboxCondition = { state: 'gone', exitCode: 137 };

/** A watcher over conditions that the test sets, with what it reported. */
function watching(onChange?: (id: string, condition: SandboxChange) => Promise<void>) {
  const conditions = new Map<string, SandboxCondition | Error>();
  const reported: [string, SandboxChange][] = [];
  const errors: string[] = [];
  const inspect = vi.fn(async (id: string) => {
    const condition = conditions.get(id) ?? RUNNING;
    if (condition instanceof Error) throw condition;
    return condition;
  });
  const watcher = createHostWatcher({
    backend: { inspect },
    onChange: async (id, condition) => {
      await onChange?.(id, condition);
      reported.push([id, condition]);
    },
    onError: (error, id) => errors.push(`${id}: ${(error as Error).message}`),
    intervalMs: 1000,
  });
  return { watcher, conditions, reported, errors, inspect, tick: () => vi.advanceTimersByTimeAsync(1000) };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the watcher of a host', () => {
  it('reports each change once, and nothing about what stays as it is', async () => {
    const { watcher, conditions, reported, tick } = watching();
    watcher.watch('a', handle, 'running');
    watcher.watch('b', handle, 'running');
    await tick();
    conditions.set('a', PAUSED);
    await tick();
    await tick();
    conditions.set('a', RUNNING);
    await tick();
    conditions.set('a', GONE);
    await tick();
    await tick();
    expect(reported).toEqual([
      ['a', PAUSED],
      ['a', RUNNING],
      ['a', GONE],
    ]);
    await watcher.stop();
  });

  it('takes the first look for what is known, unless the sandbox is gone', async () => {
    const { watcher, conditions, reported, tick } = watching();
    conditions.set('frozen', PAUSED);
    conditions.set('dead', GONE);
    watcher.watch('frozen', handle);
    watcher.watch('dead', handle);
    await tick();
    conditions.set('frozen', RUNNING);
    await tick();
    expect(reported).toEqual([
      ['dead', GONE],
      ['frozen', RUNNING],
    ]);
    await watcher.stop();
  });

  it('looks no longer at what is gone or not watched', async () => {
    const { watcher, conditions, inspect, tick } = watching();
    watcher.watch('a', handle, 'running');
    watcher.watch('b', handle, 'running');
    conditions.set('a', GONE);
    watcher.unwatch('b');
    await tick();
    inspect.mockClear();
    await tick();
    expect(inspect).not.toHaveBeenCalled();
    await watcher.stop();
  });

  it('reports again what could not be reported', async () => {
    let refuse = true;
    const { watcher, conditions, reported, errors, tick } = watching(async () => {
      if (refuse) throw new Error('no connection');
    });
    watcher.watch('a', handle, 'running');
    conditions.set('a', GONE);
    await tick();
    expect(reported).toEqual([]);
    expect(errors).toEqual(['a: no connection']);
    refuse = false;
    await tick();
    expect(reported).toEqual([['a', GONE]]);
    await watcher.stop();
  });

  it('says how things stand after a report that failed, which may have arrived all the same', async () => {
    const arrived: SandboxChange['state'][] = [];
    let isAnswerLost = true;
    const { watcher, conditions, tick } = watching(async (_, { state }) => {
      arrived.push(state);
      if (isAnswerLost) throw new Error('deadline exceeded');
    });
    watcher.watch('a', handle, 'running');
    conditions.set('a', PAUSED);
    await tick();
    conditions.set('a', RUNNING); // what the watcher knew before: no change for it, but one for who was told
    await tick();
    isAnswerLost = false;
    await tick();
    await tick();
    expect(arrived).toEqual(['paused', 'running', 'running']);
    await watcher.stop();
  });

  it('says that one answers after a report of its silence that failed', async () => {
    const arrived: SandboxChange['state'][] = [];
    let answers = false;
    const watcher = createHostWatcher({
      backend: { inspect: async () => RUNNING },
      onChange: (_, { state }) => {
        arrived.push(state);
        if (state === 'silent') throw new Error('deadline exceeded');
      },
      onError: () => undefined,
      liveness: { isAnswering: async () => answers, everyMs: 1_000, patience: 1 },
    });
    watcher.watch('a', handle, 'running');
    await vi.advanceTimersByTimeAsync(2_000);
    answers = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(new Set(arrived)).toEqual(new Set(['silent', 'answering']));
    expect(arrived.filter((state) => state === 'answering')).toHaveLength(1);
    await watcher.stop();
  });

  it('does not let one sandbox that cannot be looked at hide the others (D34)', async () => {
    const { watcher, conditions, reported, errors, tick } = watching();
    watcher.watch('a', handle, 'running');
    watcher.watch('b', handle, 'running');
    conditions.set('a', new Error('EIO'));
    conditions.set('b', GONE);
    await tick();
    expect(errors).toEqual(['a: EIO']);
    expect(reported).toEqual([['b', GONE]]);
    await watcher.stop();
  });

  it('keeps quiet about a change that was made while it looked', async () => {
    let answer: (condition: SandboxCondition) => void = () => undefined;
    const reported: SandboxChange[] = [];
    const watcher = createHostWatcher({
      backend: { inspect: () => new Promise<SandboxCondition>((resolve) => (answer = resolve)) },
      onChange: (_, condition) => void reported.push(condition),
      onError: () => undefined,
    });
    watcher.watch('a', handle, 'running');
    await vi.advanceTimersByTimeAsync(1000);
    watcher.unwatch('a');
    watcher.watch('a', handle);
    answer(PAUSED);
    await vi.advanceTimersByTimeAsync(0);
    expect(reported).toEqual([]);
    await watcher.stop();
  });

  it('reports silence only after several questions in a row, and an answer at once', async () => {
    const reported: SandboxChange['state'][] = [];
    let answers = true;
    const isAnswering = vi.fn(() => Promise.resolve(answers));
    const watcher = createHostWatcher({
      backend: { inspect: async () => RUNNING },
      onChange: (_, { state }) => void reported.push(state),
      onError: () => undefined,
      liveness: { isAnswering, everyMs: 20_000, patience: 3 },
    });
    watcher.watch('a', handle, 'running');
    await vi.advanceTimersByTimeAsync(60_000);
    const asked = isAnswering.mock.calls.length;
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual(3); // far less often than it looks
    answers = false;
    await vi.advanceTimersByTimeAsync(42_000);
    answers = true; // it was merely busy
    await vi.advanceTimersByTimeAsync(21_000);
    answers = false;
    await vi.advanceTimersByTimeAsync(42_000);
    expect(reported).toEqual([]);
    await vi.advanceTimersByTimeAsync(63_000);
    expect(reported).toEqual(['silent']);
    answers = true;
    await vi.advanceTimersByTimeAsync(21_000);
    expect(reported).toEqual(['silent', 'answering']);
    await watcher.stop();
  });

  it('expects no answer of what is frozen, and looks on while one is awaited', async () => {
    const reported: SandboxChange['state'][] = [];
    let condition: SandboxCondition = RUNNING;
    const watcher = createHostWatcher({
      backend: { inspect: async () => condition },
      onChange: (_, { state }) => void reported.push(state),
      onError: () => undefined,
      liveness: { isAnswering: () => new Promise(() => undefined), everyMs: 1_000, patience: 1 },
    });
    watcher.watch('a', handle, 'running');
    await vi.advanceTimersByTimeAsync(10_000);
    condition = PAUSED;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(reported).toEqual(['paused']);
    await watcher.stop();
  });
});
