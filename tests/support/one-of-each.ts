/** What a user may have, one of each kind, for tests of the whole surface. */
import { randomUUID } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import { apiKeys, pendingMessages } from '../../db/schema/index.js';
import { lookupHash, purposes } from '../../identity/vault.js';
import type { IdentityServer } from './identity-server.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from './rows.js';

export interface Owner {
  userId: string;
  organizationId: string;
  agentServerUrl: string;
  /** Of the conversation. */
  title: string;
}

export interface Things {
  sessionKey: string;
  /** Ids and names, by the names of parameters of paths. */
  parameters: Record<string, string>;
  /** The same sandbox, paused, or the same again running. */
  pause(paused: boolean): Promise<unknown>;
}

/** One of each thing of a user, with nothing done to it yet. */
export async function oneOfEach(
  server: IdentityServer,
  { userId, organizationId, agentServerUrl, title }: Owner,
): Promise<Things> {
  const database = () => server.core.connection.database;
  const key = `session key ${newId()}`;
  const { vault, secrets } = server.core;
  const sandboxId = newId();
  await insertSandbox(database(), {
    id: sandboxId,
    createdByUserId: userId,
    workingDirectory: '/workspace/project',
    agentServerUrl,
    sessionApiKeyHash: lookupHash(key),
    sessionApiKey: await vault.seal(purposes.sessionKey(sandboxId), key),
    secretKey: await vault.seal(purposes.secretKey(sandboxId), 'the secret key of a sandbox'),
  });
  const conversationId = await insertConversation(database(), {
    sandboxId,
    createdByUserId: userId,
    title,
  });
  const taskId = await insertStartTask(database(), { createdByUserId: userId, status: 'ERROR' });
  const messageId = randomUUID();
  const now = new Date();
  await database()
    .insert(pendingMessages)
    .values({ id: messageId, conversationId, content: '[]', bytes: 2, createdAt: now, updatedAt: now });
  await secrets.putCustom(userId, { name: 'A_SECRET', value: 'the value of a secret' });
  await secrets.replaceProviderTokens(
    userId,
    new Map([['github' as const, { token: 'the token of a user', host: null, userId: null }]]),
  );
  await server.core.settings.update(userId, (stored) => ({
    ...stored,
    language: 'en',
    llm_profiles: {
      profiles: { saved: { model: 'openai/gpt-5', api_key: 'the key of a profile' } },
      active: null,
    },
  }));
  const owner = { userId, organizationId };
  // A user has a hundred at most.
  await database()
    .delete(apiKeys)
    .where(and(eq(apiKeys.userId, userId), eq(apiKeys.name, 'x')));
  const ofUser = await server.identity.apiKeys.create(owner, { name: 'x', expiresAt: null });
  await server.identity.apiKeys.getOrCreateSystem({ ...owner, name: 'existing' });
  return {
    sessionKey: key,
    parameters: {
      sandbox_id: sandboxId,
      conversation_id: conversationId,
      task_id: taskId,
      message_id: messageId,
      secret_id: 'A_SECRET',
      secret_name: 'A_SECRET',
      key_id: ofUser.id,
      user_id: userId,
      org_id: organizationId,
      key_name: 'existing',
      name: 'saved',
      repository_name: 'a/b',
    },
    pause: (paused: boolean) => server.core.sandboxes.setStatus(sandboxId, paused ? 'PAUSED' : 'RUNNING'),
  };
}
