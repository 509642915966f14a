import { HEALTH, SERVICE, SIGNING_IN } from './accounts.js';
import type { ContractCase } from './case.js';
import { CONVERSATIONS } from './conversations.js';
import { EVENTS_OF_CONVERSATIONS, SANDBOXES, WEBHOOKS } from './events-and-sandboxes.js';
import { CHOICES, GIT_OF_1_11, GIT_OF_2025_11 } from './git-and-choices.js';
import { CONVERSATIONS_OF_2025_11 } from './older-conversations.js';
import { SECRETS_OF_1_11, SETTINGS_OF_1_11, SETTINGS_OF_2025_11 } from './settings.js';

/** All cases, by the file they are in. */
export const CASES_BY_FILE: Readonly<Record<string, readonly ContractCase[]>> = {
  conversations: CONVERSATIONS,
  'events-and-sandboxes': [...EVENTS_OF_CONVERSATIONS, ...WEBHOOKS, ...SANDBOXES],
  settings: [...SETTINGS_OF_1_11, ...SECRETS_OF_1_11, ...SETTINGS_OF_2025_11],
  'git-and-choices': [...GIT_OF_1_11, ...GIT_OF_2025_11, ...CHOICES],
  'older-conversations': CONVERSATIONS_OF_2025_11,
  accounts: [...SERVICE, ...SIGNING_IN, ...HEALTH],
};

export const CONTRACT_CASES: readonly ContractCase[] = Object.values(CASES_BY_FILE).flat();
