/** Where a conversation works inside its sandbox (contract 3.4). */
import { hexId } from '../../contract/ids.js';

/** Last part of `owner/name`, without a `.git` at its end: the directory a repository is cloned into. */
export function repositoryName(repository: string): string {
  const segments = repository.split('/').filter((segment) => segment !== '');
  return (segments.at(-1) ?? '').replace(/\.git$/, '');
}

/**
 * The directory that clones go into: the sandbox's working directory, with one of the conversation's own in a sandbox
 * that several conversations share by a grouping strategy.
 */
export function workingDirectory(sandboxDirectory: string, conversationId: string, grouped: boolean): string {
  const base = sandboxDirectory.replace(/(?<=.)\/+$/, '');
  return grouped ? join(base, hexId(conversationId)) : base;
}

/** The agent's own directory: the clone where there is a repository, else the working directory. */
export function projectDirectory(workingDirectory: string, repository: string | null): string {
  return repository === null ? workingDirectory : join(workingDirectory, repositoryName(repository));
}

const join = (directory: string, name: string): string => `${directory === '/' ? '' : directory}/${name}`;
