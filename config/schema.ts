/** Every setting of Callboard, in the sections of `config.toml`. */
import { z } from 'zod';
import { checkAuth } from './auth-rules.js';
import { auth, git } from './sections/identity.js';
import { sandboxes, docker, remote, agentServer, llm } from './sections/sandboxes.js';
import { server, gateway, limits } from './sections/server.js';
import { data, database, temporal, maintenance, keys, log } from './sections/storage.js';

export { PINNED_AGENT_SERVER } from './sections/sandboxes.js';

/** The sections of `config.toml`; names there are the same in snake case (`[server] public_url`). */
export const ConfigSchema = z
  .object({
    data,
    server,
    database,
    temporal,
    sandboxes,
    gateway,
    limits,
    maintenance,
    docker,
    remote,
    agentServer,
    llm,
    auth,
    git,
    keys,
    log,
  })
  .superRefine(checkAuth);
