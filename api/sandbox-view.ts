import { wireDate } from '../contract/dates.js';
import type { SandboxInfo } from '../contract/sandbox.js';
import type { ListedSandbox } from '../db/sandbox-read-model.js';
import { isAuthor, type UserContext } from '../identity/user-context.js';
import type { AgentServerAccess } from './agent-server-access.js';

/**
 * A sandbox as a client sees it: key and addresses only while it is RUNNING (contract 5.1), the key only for its author,
 * since its holder may do anything in the sandbox.
 */
export async function sandboxInfo(
  user: UserContext,
  row: ListedSandbox,
  agentServers: Pick<AgentServerAccess, 'sessionKey' | 'exposedUrls'>,
): Promise<SandboxInfo> {
  return {
    id: row.id,
    created_by_user_id: row.createdByUserId,
    sandbox_spec_id: row.specId,
    status: row.status,
    session_api_key: isAuthor(user, row.createdByUserId)
      ? await agentServers.sessionKey({ ...row, sealedSessionKey: row.sessionApiKey })
      : null,
    exposed_urls: agentServers.exposedUrls(row),
    created_at: wireDate(row.createdAt),
  };
}
