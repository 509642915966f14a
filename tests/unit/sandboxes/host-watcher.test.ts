import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SandboxCondition, SandboxHandle } from '../../../sandboxes/backend.js';
import { createHostWatcher } from '../../../sandboxes/host-watcher.js';

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
function watching(onChange?: (id: string, condition: SandboxCondition) => Promise<void>) {
  const conditions = new Map<string, SandboxCondition | Error>();
  const reported: [string, SandboxCondition][] = [];
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

  it('does not let one sandbox that cannot be looked at hide the others', async () => {
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
    const reported: SandboxCondition[] = [];
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
});
