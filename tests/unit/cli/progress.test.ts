import { describe, expect, it, vi } from 'vitest';
import { createProgress } from '../../../cli/progress.js';

function output(isTTY: boolean) {
  const written: string[] = [];
  return {
    written,
    text: () => written.join(''),
    isTTY,
    columns: 40,
    write: (text: string) => written.push(text),
  };
}

describe('progress', () => {
  it('leaves one line for each step, with its time and what came of it', async () => {
    const out = output(false);
    const result = await createProgress(out).step(
      'Temporal',
      () => Promise.resolve(7),
      (value) => `port ${value}`,
    );
    expect(result).toBe(7);
    expect(out.text()).toMatch(/^ {2}✓ Temporal \(0\.\d s\) {2}port 7\n$/);
  });

  it('marks a step that failed, and passes the error on', async () => {
    const out = output(false);
    const step = createProgress(out).step('Temporal', () => Promise.reject(new Error('no disk')));
    await expect(step).rejects.toThrow('no disk');
    expect(out.text()).toMatch(/^ {2}✗ Temporal \(0\.\d s\)\n$/);
  });

  it('says now and then what still runs, where lines cannot be repainted', async () => {
    const out = output(false);
    let finish: () => void = () => undefined;
    const step = createProgress(out, 10).step('Temporal CLI', (note) => {
      note('building');
      return new Promise<void>((resolve) => (finish = resolve));
    });
    await vi.waitFor(() => expect(out.text()).toMatch(/^ {2}… Temporal CLI: building \(0\.\d s\)\n/), 90_000);
    finish();
    await step;
  });

  it('repaints one line that fits the terminal, and clears it for lines that stay', async () => {
    const out = output(true);
    const progress = createProgress(out);
    const finish: (() => void)[] = [];
    const steps = ['one', 'two'].map((title) =>
      progress.step(title, (note) => {
        note('a detail that is much too long for a narrow terminal');
        return new Promise<void>((resolve) => finish.push(resolve));
      }),
    );
    await vi.waitFor(() => expect(out.text()).toContain('… one: a detail'), 90_000);
    for (const painted of out.written.filter((text) => text.includes('…'))) {
      expect(painted.replace('\r\x1b[2K', '').length).toBeLessThan(40);
    }
    progress.line('a line');
    expect(out.written.slice(-3)[0]).toBe('\r\x1b[2K');
    expect(out.written.slice(-3)[1]).toBe('a line\n');
    for (const done of finish) done();
    await Promise.all(steps);
    expect(out.written.at(-1)).toMatch(/^ {2}✓ two \(0\.\d s\)\n$/);
  });
});
