import { wireDate } from '../contract/dates.js';
import type { SandboxInfo } from '../contract/sandbox.js';
import type { SandboxRecord } from '../db/sandbox-repository.js';
import type { AgentServerAccess } from './agent-server-access.js';

/** A sandbox as clients see it: key and addresses only while it is RUNNING (contract 5.1). */
export async function sandboxInfo(
  row: SandboxRecord,
  agentServers: Pick<AgentServerAccess, 'sessionKey'>,
): Promise<SandboxInfo> {
  const running = row.status === 'RUNNING';
  return {
    id: row.id,
    created_by_user_id: row.createdByUserId,
    sandbox_spec_id: row.specId,
    status: row.status,
    session_api_key: await agentServers.sessionKey({ ...row, sealedSessionKey: row.sessionApiKey }),
    exposed_urls: running ? row.exposedUrls : null,
    created_at: wireDate(row.createdAt),
  };
}
