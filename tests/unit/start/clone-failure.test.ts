import { describe, expect, it } from 'vitest';
import { cloneFailure, type FailedClone } from '../../../activities/start/clone-failure.js';
import { readReport } from '../../../activities/start/clone-script.js';
import { lastLines } from '../../../activities/start/failures.js';

const clone: FailedClone = {
  repository: 'owner/name',
  branch: null,
  provider: 'github',
  origin: 'https://github.com',
  destination: '/workspace/name',
  authenticated: false,
  limitSeconds: 600,
  secrets: ['secret-token'],
};
const result = (stderr: string, more: { stdout?: string; timedOut?: boolean } = {}) => ({
  exitCode: 128,
  stdout: more.stdout ?? 'callboard:failed=clone\n',
  stderr,
  timedOut: more.timedOut ?? false,
  truncated: false,
});

describe('a clone that failed', () => {
  it.each([
    [
      "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
      'GitTokenMissing',
      /^Missing either Git token or valid repository: .*owner\/name.*Add a github token/,
    ],
    [
      "remote: Repository not found.\nfatal: repository 'https://github.com/owner/name.git/' not found",
      'GitTokenMissing',
      /^Missing either Git token or valid repository/,
    ],
    [
      "fatal: unable to access 'https://github.com/owner/name.git/': Could not resolve host: github.com",
      'CloneFailed',
      /exit code 128: .*Could not resolve host/,
    ],
    ['', 'CloneFailed', /git said nothing/],
  ])('without a token, saying %j, is %s', (stderr, type, message) => {
    const failure = cloneFailure(result(stderr), clone);
    expect(failure.type).toBe(type);
    expect(failure.message).toMatch(message);
    expect(failure.nonRetryable).toBe(true);
  });

  it('with a token that is not accepted says so in the words of the contract', () => {
    const failure = cloneFailure(
      result(
        "remote: Invalid username or token.\nfatal: Authentication failed for 'https://github.com/owner/name.git/'",
      ),
      { ...clone, authenticated: true },
    );
    expect(failure.type).toBe('GitAuthenticationFailed');
    expect(failure.message).toMatch(
      /^Git provider authentication issue when getting remote URL: .*Renew the token/,
    );
  });

  it('for want of the branch names the branch', () => {
    const failure = cloneFailure(
      result(
        'warning: Could not find remote branch nope to clone.\nfatal: Remote branch nope not found in upstream origin',
      ),
      { ...clone, branch: 'nope' },
    );
    expect(failure.type).toBe('BranchNotFound');
    expect(failure.message).toContain('The branch "nope" does not exist in owner/name');
  });

  it.each([
    ['no-git', 'GitMissing'],
    ['occupied', 'ProjectDirectoryOccupied'],
    ['checkout', 'CheckoutFailed'],
    ['directory', 'WorkingDirectoryUnusable'],
  ])('by the report %s is %s', (report, type) => {
    expect(cloneFailure(result('x', { stdout: `callboard:failed=${report}\n` }), clone).type).toBe(type);
  });

  it('for want of time names the setting (D39)', () => {
    const failure = cloneFailure(result('', { timedOut: true }), clone);
    expect(failure.type).toBe('CloneTimeout');
    expect(failure.message).toContain('CLONE_TIMEOUT_SECONDS');
  });

  it('never shows a token, whatever git says', () => {
    const failure = cloneFailure(result('fatal: https://x:secret-token@github.com is odd'), clone);
    expect(failure.message).not.toContain('secret-token');
  });
});

describe('the output of a command', () => {
  it('is quoted by its last lines, progress bars by their last state', () => {
    const output = 'a\nReceiving: 1%\rReceiving: 50%\rReceiving: 100%\n\nfatal: no\n';
    expect(lastLines(output)).toBe('a\nReceiving: 100%\nfatal: no');
    expect(lastLines(output, 1)).toBe('fatal: no');
    expect(lastLines('x'.repeat(5_000)).length).toBeLessThan(2_000);
  });

  it('holds our own report among whatever else was printed', () => {
    expect(readReport('hello\ncallboard:setup=yes\nnot callboard:hook=yes\ncallboard:other=1\n')).toEqual({
      setup: 'yes',
    });
  });
});
