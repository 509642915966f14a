import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRevision } from '../../../contract/git-names.js';
import { pathInSandbox } from '../../../contract/sandbox-paths.js';

const working = '/data/host/sandboxes/box/workspace/project';
const project = `${working}/rocket`;
const placed = (named: string) => pathInSandbox(named, { working, project });

describe('a path that a client names', () => {
  it.each([
    ['/workspace/project', working],
    ['/workspace/project/PLAN.md', `${working}/PLAN.md`],
    ['/workspace/project/rocket/.agents_tmp/PLAN.md', `${project}/.agents_tmp/PLAN.md`],
    ['src/main.ts', `${project}/src/main.ts`],
    ['.', project],
    ['../other/file', `${working}/other/file`],
    [`${working}/a//b/./c/`, `${working}/a/b/c`],
    ['/workspace/project/../project/x', `${working}/x`],
  ])('%s is found in the working directory', (named, path) => {
    expect(placed(named)).toBe(path);
  });

  it.each([
    '/etc/passwd',
    '../../secret',
    '/workspace/project/../../etc/passwd',
    '/workspace/projects/x',
    `${working}-of-another/file`,
    `${working}/../../../other-box/workspace/project/file`,
    'a\0b',
    'x'.repeat(5_000),
  ])('%s is refused, as it leads out of it', (named) => {
    expect(placed(named)).toBeNull();
  });

  it('is never outside of the working directory, however it is written', () => {
    const part = fc.oneof(fc.constantFrom('..', '.', '', 'workspace', 'project', 'data'), fc.string());
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.boolean(), (parts, isAbsolute) => {
        const path = placed(`${isAbsolute ? '/' : ''}${parts.join('/')}`);
        if (path === null) return;
        expect(path === working || path.startsWith(`${working}/`)).toBe(true);
        expect(path.split('/')).not.toContain('..');
      }),
    );
  });

  it('may be anything inside where the working directory is the root', () => {
    expect(pathInSandbox('/etc/hosts', { working: '/', project: '/' })).toBe('/etc/hosts');
    expect(pathInSandbox('/workspace/project/a', { working: '/', project: '/' })).toBe(
      '/workspace/project/a',
    );
  });
});

it.each([
  ['main', true],
  ['origin/feature', true],
  ['HEAD~2', true],
  ['a1b2c3d', true],
  ['--output=/tmp/x', false],
  ['-', false],
  ['', false],
  ['a b', false],
  ['a\nb', false],
])('a revision %j is taken: %s', (ref, taken) => {
  expect(isRevision(ref)).toBe(taken);
});
