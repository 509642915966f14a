/** What the preparation of a start is made from: each dependency as narrow as its use. */
import type { AgentServerClient } from '../../agent-server/client.js';
import type { CallbackRepository } from '../../db/callback-repository.js';
import type { ConversationRepository } from '../../db/conversation-repository.js';
import type { SandboxRepository } from '../../db/sandbox-repository.js';
import type { StartTaskRepository } from '../../db/start-task-repository.js';
import type { EventStore } from '../../events/event-store.js';
import type { AccessTokens } from '../../identity/access-token.js';
import type { SecretsStore } from '../../identity/secrets-store.js';
import type { TokensOf } from '../../identity/secrets-token-provider.js';
import type { SettingsStore } from '../../identity/settings-store.js';
import type { Vault } from '../../identity/vault.js';
import type { PublicSkills } from '../public-skills.js';

/** Settings of a user with their keys in the clear, those of the instance filled in. */
export type UserSettingsReader = Pick<SettingsStore, 'read'>;
/** Secrets of a user in the clear; provider tokens are renewed first where they expire. */
export interface UserSecretsReader extends Pick<SecretsStore, 'readCustom'> {
  providerTokens(userId: string | null): ReturnType<ReturnType<TokensOf>['getAll']>;
}

export interface StartPreparationDeps {
  startTasks: Pick<
    StartTaskRepository,
    'read' | 'artifact' | 'putArtifact' | 'keepArtifact' | 'forgetConversation' | 'passThrough'
  >;
  sandboxes: Pick<SandboxRepository, 'read'>;
  conversations: Pick<ConversationRepository, 'createFromStart'>;
  callbacks: Pick<CallbackRepository, 'register'>;
  events: Pick<EventStore, 'deleteConversation'>;
  vault: Pick<Vault, 'open'>;
  settings: UserSettingsReader;
  secrets: UserSecretsReader;
  accessTokens: Pick<AccessTokens, 'issue'>;
  createClient: (target: {
    baseUrl: string;
    sessionApiKey: string;
    secrets: readonly string[];
  }) => AgentServerClient;
  /** Public address of the API, without trailing slash; null hands tokens over as values. */
  publicUrl: string | null;
  /** What this worker knows of them. */
  publicSkills: Pick<PublicSkills, 'has' | 'take' | 'missed' | 'areOutOfReach'>;
  /** Directory of the skills that every conversation gets; it need not exist. */
  skillsDirectory: string;
  /** Directories of the skills of the one user of an instance without identity; they need not exist. */
  userSkillsDirectories: readonly string[];
  limits: { cloneSeconds: number; setupScriptSeconds: number };
  /** Whether a new sandbox's working directory may hold files already (mounted volumes). */
  workspaceMayHoldFiles: boolean;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}
