import { describe, expect, it } from 'vitest';
import {
  projectDirectory,
  repositoryName,
  workingDirectory,
} from '../../../activities/start/project-directory.js';

const id = '8065577f-92a9-47eb-b20f-02dd9422da29';

describe('the directory of a conversation', () => {
  it("is the sandbox's own without a repository", () => {
    expect(projectDirectory(workingDirectory('/workspace/project', id, false), null)).toBe(
      '/workspace/project',
    );
  });

  it('is the clone where a repository is selected', () => {
    expect(projectDirectory('/workspace/project', 'owner/name')).toBe('/workspace/project/name');
    expect(projectDirectory('/workspace/project', 'group/sub/name.git')).toBe('/workspace/project/name');
  });

  it('is one of its own in a shared sandbox', () => {
    const own = workingDirectory('/workspace/project/', id, true);
    expect(own).toBe('/workspace/project/8065577f92a947ebb20f02dd9422da29');
    expect(projectDirectory(own, 'owner/name')).toBe(`${own}/name`);
  });

  it('may be below the root', () => {
    expect(projectDirectory(workingDirectory('/', id, false), 'owner/name')).toBe('/name');
  });

  it('is called as the last part of the repository', () => {
    expect(repositoryName('org/project/name')).toBe('name');
  });
});
