/** What the preparation of a start is made from: each dependency as narrow as its use. */
import type { AgentServerClient } from '../../agent-server/client.js';
import type { GitProvider } from '../../contract/primitives.js';
import type { CallbackRepository } from '../../db/callback-repository.js';
import type { ConversationRepository } from '../../db/conversation-repository.js';
import type { SandboxRepository } from '../../db/sandbox-repository.js';
import type { StartTaskRepository } from '../../db/start-task-repository.js';
import type { AccessTokens } from '../../identity/access-token.js';
import type { ProviderToken } from '../../identity/user-context.js';
import type { Vault } from '../../identity/vault.js';

/** Settings of a user with their keys in the clear (contract 10.1), defaults where nothing is stored. */
export interface UserSettingsReader {
  /** @param userId null for the one user of an instance without identity. */
  read(userId: string | null): Promise<Record<string, unknown>>;
}

/** An environment variable that a user keeps for the agent. */
export interface CustomSecret {
  name: string;
  value: string;
  description: string | null;
}

/** Secrets of a user in the clear. */
export interface UserSecretsReader {
  customSecrets(userId: string | null): Promise<readonly CustomSecret[]>;
  /** In the order in which the user added them. */
  providerTokens(userId: string | null): Promise<ReadonlyMap<GitProvider, ProviderToken>>;
}

/** The model of users who have chosen none. */
export interface DefaultLlm {
  model: string | null;
  apiKey: string | null;
  baseUrl: string | null;
}

export interface StartPreparationDeps {
  startTasks: Pick<StartTaskRepository, 'read' | 'artifact' | 'putArtifact'>;
  sandboxes: Pick<SandboxRepository, 'read'>;
  conversations: Pick<ConversationRepository, 'createFromStart'>;
  callbacks: Pick<CallbackRepository, 'register'>;
  vault: Pick<Vault, 'open'>;
  settings: UserSettingsReader;
  secrets: UserSecretsReader;
  accessTokens: Pick<AccessTokens, 'issue'>;
  createClient: (target: {
    baseUrl: string;
    sessionApiKey: string;
    secrets: readonly string[];
  }) => AgentServerClient;
  defaultLlm: DefaultLlm;
  /** Public address of the API, without trailing slash; null hands tokens over as values. */
  publicUrl: string | null;
  /** Directory of the skills that every conversation gets; it need not exist. */
  skillsDirectory: string;
  limits: { cloneSeconds: number; setupScriptSeconds: number };
  /** Whether a new sandbox's working directory may hold files already (mounted volumes). */
  workspaceMayHoldFiles: boolean;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}
