import { tmpdir } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { suggestedTaskPrompt } from '../../../api/suggested-task-prompts.js';

describe('the prompt of a suggested task', () => {
  const started = process.cwd();
  afterEach(() => process.chdir(started));

  it('is the same wherever the server was started (D33)', () => {
    const prompt = () =>
      suggestedTaskPrompt({
        git_provider: 'github',
        task_type: 'OPEN_ISSUE',
        repo: 'owner/repo',
        issue_number: 12,
        title: 'Mend the login',
      });
    const here = prompt();
    expect(here).toContain('#12');
    process.chdir(tmpdir());
    expect(prompt()).toBe(here);
  });
});
