import { describe, expect, it } from 'vitest';
import { cloneSource } from '../../../git-providers/clone-url.js';
import { InvalidRepository } from '../../../git-providers/host-address.js';

const token = (value: string, host: string | null = null) => ({ token: value, host, userId: null });

describe('the address a repository is cloned from', () => {
  it.each([
    ['github', 'owner/name', null, 'https://github.com/owner/name.git'],
    ['github', 'owner/name', 'ghe.example.com', 'https://ghe.example.com/owner/name.git'],
    ['gitlab', 'group/sub/name', null, 'https://gitlab.com/group/sub/name.git'],
    [
      'gitlab',
      'group/name',
      'https://git.example.com/gitlab/',
      'https://git.example.com/gitlab/group/name.git',
    ],
    ['bitbucket', 'workspace/name', null, 'https://bitbucket.org/workspace/name.git'],
    [
      'bitbucket_data_center',
      'PRJ/name',
      'bb.example.com:7990',
      'https://bb.example.com:7990/scm/PRJ/name.git',
    ],
    ['forgejo', 'owner/name', null, 'https://codeberg.org/owner/name.git'],
    ['forgejo', 'owner/name', 'http://127.0.0.1:3999', 'http://127.0.0.1:3999/owner/name.git'],
    ['azure_devops', 'org/My Project/name', null, 'https://dev.azure.com/org/My%20Project/_git/name'],
    ['azure_devops', 'org/proj/name', 'dev.azure.com/org', 'https://dev.azure.com/org/proj/_git/name'],
    ['azure_devops', 'Coll/proj/name', 'tfs.corp/tfs/Coll', 'https://tfs.corp/tfs/Coll/proj/_git/name'],
    ['azure_devops', 'org/proj/name', 'org.visualstudio.com', 'https://org.visualstudio.com/proj/_git/name'],
    ['github', 'owner/name.git', null, 'https://github.com/owner/name.git'],
  ] as const)('of %s %s at %s is %s', (provider, repository, host, url) => {
    expect(cloneSource(provider, repository, token('secret-token', host)).url).toBe(url);
  });

  it('never holds the token, which is for the one origin only', () => {
    for (const provider of ['github', 'gitlab', 'bitbucket', 'forgejo'] as const) {
      const source = cloneSource(provider, 'owner/name', token('secret-token', 'git.example.com:8443'));
      expect(source.url).not.toContain('secret-token');
      expect(source.origin).toBe('https://git.example.com:8443');
      expect(source.credentials?.password).toBe('secret-token');
    }
  });

  it('is read without identity where there is no token', () => {
    expect(cloneSource('github', 'owner/name', null).credentials).toBeNull();
    expect(cloneSource('github', 'owner/name', token('')).credentials).toBeNull();
  });

  it('takes the name that a Bitbucket token brings with it', () => {
    expect(cloneSource('bitbucket', 'w/n', token('me:app:password')).credentials).toEqual({
      username: 'me',
      password: 'app:password',
    });
    expect(cloneSource('bitbucket', 'w/n', token('token')).credentials?.username).toBe('x-token-auth');
  });

  it.each([
    'name',
    'owner/',
    '/name',
    'owner//name',
    'owner/../name',
    'owner/..',
    'owner/name/more',
    'owner/na;me',
    'owner/$(name)',
    'owner/na`me',
    'owner/na\nme',
    'https://github.com/owner/name',
    'owner/na\uD800me',
    '',
  ])('cannot be made from %j', (repository) => {
    expect(() => cloneSource('github', repository, null)).toThrow(InvalidRepository);
  });

  it.each(['ftp://host', 'file:///etc', 'user:password@host', 'host?query', 'a b'])(
    'cannot be made from the host %j',
    (host) => {
      expect(() => cloneSource('github', 'owner/name', token('t', host))).toThrow(InvalidRepository);
    },
  );

  it('asks for the host of Bitbucket Data Center, which has none of its own', () => {
    expect(() => cloneSource('bitbucket_data_center', 'PRJ/name', null)).toThrow(
      /host of Bitbucket Data Center/,
    );
  });

  it('does not exist for a provider without repositories', () => {
    expect(() => cloneSource('enterprise_sso', 'owner/name', null)).toThrow(InvalidRepository);
  });
});
