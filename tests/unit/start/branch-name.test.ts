import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBranchName } from '../../../contract/git-names.js';

function gitAccepts(name: string): boolean {
  try {
    execFileSync('git', ['check-ref-format', '--branch', name], { stdio: 'ignore', cwd: '/' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'status' in error && error.status !== null) return false;
    throw error;
  }
}

describe('a branch name', () => {
  it.each(['main', 'feature/x', 'v1.2', 'a-b_c', 'ümlaut', 'a@b', 'release/2026.11', "it's", 'a$b', 'a;b'])(
    '%j is accepted',
    (name) => {
      expect(isBranchName(name)).toBe(true);
    },
  );

  it.each([
    '',
    '-b',
    '--upload-pack=x',
    'a..b',
    'a b',
    'a~1',
    'a^',
    'a:b',
    'a?',
    'a*',
    '[a',
    'a\\b',
    'a\nb',
    '/a',
    'a/',
    'a//b',
    'a.lock',
    'a/.b',
    'a.',
    '@',
    'a@{1}',
    'HEAD',
    'a\u0007',
  ])('%j is refused before git sees it', (name) => {
    expect(isBranchName(name)).toBe(false);
  });

  it('is accepted only if git accepts it too', () => {
    const character = fc.constantFrom(...Array.from('ab/.-@{~^:?*[\\ $;\'"`'));
    fc.assert(
      fc.property(fc.string({ unit: character, minLength: 1, maxLength: 8 }), (name) => {
        if (isBranchName(name)) expect(gitAccepts(name), name).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
