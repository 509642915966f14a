import { homedir } from 'node:os';
import { join } from 'node:path';

/** Skills of the person whose machine this is: for conversations that belong to nobody in particular. */
export const USER_SKILL_DIRECTORIES: readonly string[] = ['skills', 'microagents'].map((name) =>
  join(homedir(), '.openhands', name),
);
