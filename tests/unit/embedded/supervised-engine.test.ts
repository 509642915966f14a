import { describe, expect, it } from 'vitest';
import type { EngineExit } from '../../../cli/embedded/engine-process.js';
import { superviseEngine, type Engine } from '../../../cli/embedded/supervised-engine.js';
import { UserError } from '../../../cli/user-error.js';

interface FakeEngine extends Engine {
  address: string;
  crash: () => void;
}

/** Engines that do nothing and end when told to. */
function fakeEngines(address: (start: number) => string = () => 'same') {
  const started: FakeEngine[] = [];
  const start = (): Promise<FakeEngine> => {
    let end: (exit: EngineExit) => void = () => undefined;
    const exited = new Promise<EngineExit>((resolve) => (end = resolve));
    const engine: FakeEngine = {
      pid: started.length,
      logFile: 'the.log',
      address: address(started.length),
      exited,
      crash: () => end({ code: null, signal: 'SIGKILL' }),
      stop: async () => end({ code: 0, signal: null }),
    };
    started.push(engine);
    return Promise.resolve(engine);
  };
  return { started, start };
}

const supervise = (start: () => Promise<FakeEngine>, log: string[] = [], restartsPerMinute = 2) =>
  superviseEngine({
    name: 'Engine',
    start,
    isSame: (first, successor) => first.address === successor.address,
    log: (line) => log.push(line),
    restartsPerMinute,
  });

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a supervised engine', () => {
  it('is started again after a crash, with a line that says so', async () => {
    const { started, start } = fakeEngines();
    const log: string[] = [];
    const supervised = await supervise(start, log);
    supervised.engine.crash();
    await until(() => started.length === 2);
    expect(log).toEqual(['Engine ended with SIGKILL; starting it again']);
    await supervised.stop();
    expect(await started[1]!.exited).toEqual({ code: 0, signal: null });
  });

  it('is not started again when it was stopped', async () => {
    const { started, start } = fakeEngines();
    const supervised = await supervise(start);
    await supervised.stop();
    await started[0]!.exited;
    expect(started).toHaveLength(1);
  });

  it('is given up, naming its log, when it crashes again and again', async () => {
    const { started, start } = fakeEngines();
    const supervised = await supervise(start);
    for (const crash of [1, 2, 3]) {
      await until(() => started.length === crash);
      started[crash - 1]!.crash();
    }
    await expect(supervised.gaveUp).rejects.toThrow(
      new UserError(
        'Engine ended 3 times within a minute, at last with SIGKILL: read the.log, and start again.',
      ),
    );
    expect(started).toHaveLength(3);
    await supervised.stop();
  });

  it('is given up when its successor cannot have its address', async () => {
    const { started, start } = fakeEngines((count) => `address ${count}`);
    const supervised = await supervise(start);
    started[0]!.crash();
    await expect(supervised.gaveUp).rejects.toThrow(/Engine had to take another port/);
    await supervised.stop();
    expect(await started[1]!.exited).toEqual({ code: 0, signal: null });
  });

  it('is given up with the reason when it cannot be started again', async () => {
    const { started, start } = fakeEngines();
    const supervised = await supervise(() =>
      started.length === 0 ? start() : Promise.reject(new Error('disk full')),
    );
    started[0]!.crash();
    await expect(supervised.gaveUp).rejects.toThrow('Engine cannot be started again: disk full');
  });
});
