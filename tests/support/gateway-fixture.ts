/** The gateway over a real database and real sockets, before a fake agent-server. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { createApp } from '../../api/app.js';
import { createGateway } from '../../api/gateway/gateway.js';
import type { SocketLimits } from '../../api/gateway/socket-limits.js';
import type { RouteDefinition } from '../../api/route.js';
import { startServer } from '../../api/server.js';
import { Secret } from '../../contract/masking.js';
import type { SandboxStatus } from '../../contract/sandbox.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import type { Database } from '../../db/database.js';
import { createNotificationHub } from '../../db/notifications.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { NO_TOKENS, Unauthenticated, type AuthStrategy } from '../../identity/auth-strategy.js';
import { lookupHash, purposes, Vault } from '../../identity/vault.js';
import { openTestDatabase } from './database.js';
import { FakeSocketServer } from './fake-socket-server.js';
import { insertConversation, insertSandbox, newId } from './rows.js';

export interface GatewaySettings {
  enabled?: boolean;
  instanceKey?: string;
  publicUrl?: string;
  corsOrigins?: string[];
  socketsPerSandbox?: number;
  limits?: Partial<SocketLimits>;
  /** Auth mode none: nobody has a name. */
  noIdentity?: boolean;
  silenceSeconds?: number;
  /** Routes of the server itself. */
  routes?: readonly RouteDefinition[];
}

/** A sandbox with one conversation in it. */
export interface Stage {
  sandboxId: string;
  conversationId: string;
  key: string;
}

export interface StageOptions {
  status?: SandboxStatus;
  user?: string;
  agentServerUrl?: string;
  key?: string;
}

export interface GatewayFixture {
  url: string;
  database: Database;
  sandboxes: SandboxRepository;
  agentServer: FakeSocketServer;
  /** All lines of the log, as they were written. */
  logged: string[];
  /** What events are stored, by id. */
  events: Map<string, string>;
  /** Users whose sessions are over, and members of the one organization. */
  signedOut: Set<string>;
  members: string[];
  /** What the browser of a user sends from a page of this server. */
  ofBrowser(user: string): { headers: Record<string, string> };
  /** Adds a sandbox with a conversation. */
  stage(options?: StageOptions): Promise<Stage>;
  /** Ends all sockets, as a shutdown does. */
  closeSockets(): Promise<void>;
  close(): Promise<void>;
}

/** `Bearer user-…` is a program of a user, the cookie `user=…` a browser. */
const named = (signedOut: ReadonlySet<string>, members: readonly string[]): AuthStrategy => ({
  authenticate: (headers) => {
    const bearer = /^Bearer user-(\w+)$/.exec(headers.authorization ?? '')?.[1];
    const cookie = /(?:^|; )user=(\w+)/.exec(headers.cookie ?? '')?.[1];
    const userId = bearer ?? cookie;
    if (userId === undefined || signedOut.has(userId)) return Promise.reject(new Unauthenticated());
    const organization = {
      activeOrganizationId: 'team',
      memberUserIds: () => Promise.resolve(members),
      isMember: (id: string) => Promise.resolve(members.includes(id)),
    };
    return Promise.resolve({
      userId,
      authType: bearer === undefined ? 'cookie' : 'bearer',
      tokens: NO_TOKENS,
      organization,
    });
  },
});

const nameless: AuthStrategy = {
  authenticate: () => Promise.resolve({ userId: null, authType: 'none', tokens: NO_TOKENS }),
};

export async function openGateway(settings: GatewaySettings = {}): Promise<GatewayFixture> {
  const connection = await openTestDatabase();
  const { database } = connection;
  const agentServer = await new FakeSocketServer().listen();
  const logged: string[] = [];
  const logger = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const hub = createNotificationHub({ url: connection.url, logger });
  const vault = new Vault([{ id: 'test', secret: new Uint8Array(32).fill(7) }]);
  const sandboxes = new SandboxRepository(database);
  const signedOut = new Set<string>();
  const members = ['ann', 'bob'];
  const auth = settings.noIdentity ? nameless : named(signedOut, members);
  const events = new Map<string, string>();
  const server = {
    corsOrigins: settings.corsOrigins ?? [],
    instanceKey: settings.instanceKey === undefined ? null : new Secret(settings.instanceKey),
    publicUrl: settings.publicUrl ?? null,
    bodyLimitBytes: 100_000,
  };
  const gateway = createGateway({
    sandboxes,
    conversations: new ConversationReadModel(database),
    events: { batch: (_, __, ids) => Promise.resolve(ids.map((id) => events.get(id) ?? null)) },
    vault,
    auth,
    hub,
    logger,
    server,
    gateway: {
      enabled: settings.enabled ?? true,
      silenceSeconds: settings.silenceSeconds ?? 30,
      socketsPerSandbox: settings.socketsPerSandbox ?? 100,
      socketsPerUser: 100,
    },
    limits: settings.limits ?? {},
  });
  const { app } = createApp({ routes: settings.routes ?? [], auth, logger, server, gateway: gateway.http });
  const running = await startServer(app, { host: '127.0.0.1', port: 0 }, (request, socket, head) =>
    gateway.sockets.handleUpgrade(request, socket, head),
  );
  await hub.listening();
  return {
    url: running.url,
    database,
    sandboxes,
    agentServer,
    logged,
    events,
    signedOut,
    members,
    ofBrowser: (user) => ({ headers: { Cookie: `user=${user}`, Origin: running.url } }),
    async stage({
      status = 'RUNNING',
      user,
      agentServerUrl = agentServer.url,
      key = `key-${randomUUID()}`,
    } = {}) {
      const sandboxId = newId();
      const owner = user ?? null;
      await insertSandbox(database, {
        id: sandboxId,
        status,
        agentServerUrl,
        createdByUserId: owner,
        sessionApiKey: await vault.seal(purposes.sessionKey(sandboxId), key),
        sessionApiKeyHash: lookupHash(key),
      });
      const conversationId = await insertConversation(database, { sandboxId, createdByUserId: owner });
      return { sandboxId, conversationId, key };
    },
    closeSockets: () => gateway.sockets.close(),
    async close() {
      await gateway.sockets.close();
      await running.close(1_000);
      await hub.stop();
      await agentServer.close();
      await connection.close();
    },
  };
}
