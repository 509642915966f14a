import { describe, expect, it } from 'vitest';
import { SandboxRefusal } from '../../../sandboxes/backend.js';
import { sandboxPaths } from '../../../sandboxes/sandbox-paths.js';

describe('the directory of a sandbox', () => {
  it('never lies outside of the root, whatever the id', () => {
    for (const id of [
      '',
      '.',
      '..',
      '../x',
      'a/b',
      '/etc',
      'a\0b',
      'a b',
      '.hidden',
      '-rf',
      'x'.repeat(129),
    ]) {
      expect(() => sandboxPaths('/data', id), id).toThrow(SandboxRefusal);
    }
    for (const id of ['oh-process-0a1B2c', 'A', 'a..b', '7_x.y-z', 'x'.repeat(128)]) {
      expect(sandboxPaths('/data', id).directory).toBe(`/data/${id}`);
    }
  });

  it('keeps the sockets of its terminals within the length that systems allow', () => {
    const deep = `/${'very-long-directory-name/'.repeat(12)}`;
    const { terminals } = sandboxPaths(deep, 'x'.repeat(128));
    expect(`${terminals}/tmux-4294967295/openhands`.length).toBeLessThanOrEqual(100);
    expect(sandboxPaths('/other', 'x'.repeat(128)).terminals).not.toBe(terminals);
    expect(sandboxPaths(deep, 'y'.repeat(128)).terminals).not.toBe(terminals);
    expect(sandboxPaths(deep, 'x'.repeat(128)).terminals).toBe(terminals);
  });
});
