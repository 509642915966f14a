/** Webhooks and event routes served over HTTP from a real database and a real directory. */
import { MASK } from '../../contract/masking.js';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { createApp } from '../../api/app.js';
import { eventRoutes } from '../../api/event-routes.js';
import { startServer } from '../../api/server.js';
import { WebhookAdmission, type AdmissionLimits } from '../../api/webhook-admission.js';
import { webhookRoutes } from '../../api/webhook-routes.js';
import { CallbackRepository } from '../../db/callback-repository.js';
import { ConversationResidence } from '../../db/conversation-home.js';
import { ConversationRepository, type ConversationRecord } from '../../db/conversation-repository.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import type { EventDisk } from '../../events/event-disk.js';
import { createEventStore, type EventStore } from '../../events/event-store.js';
import { NO_TOKENS, type AuthStrategy } from '../../identity/auth-strategy.js';
import { lookupHash } from '../../identity/vault.js';
import { openTestDatabase } from './database.js';
import { insertSandbox, newId } from './rows.js';

export interface TestSandbox {
  id: string;
  key: string;
  owner: string | null;
}

export interface Answer<Body = unknown> {
  status: number;
  body: Body;
  text: string;
}

/** Signs callers in by a header of the test. */
const byHeader: AuthStrategy = {
  async authenticate(headers) {
    const user = headers['x-test-user'];
    return { userId: typeof user === 'string' ? user : null, authType: 'none', tokens: NO_TOKENS };
  },
};

export interface EventApiOptions {
  requireOwner?: boolean;
  /** What webhooks may have in hand. */
  admission?: AdmissionLimits;
  bodyWithinMs?: number;
  /** In the place of the temporary directory that is made otherwise. */
  directory?: string;
  disk?: EventDisk;
  /** In the place of the real store. */
  wrapEvents?: (events: EventStore) => EventStore;
}

export async function startEventApi({
  requireOwner = false,
  wrapEvents,
  admission = { bytes: 256 * 1024 * 1024, requests: 64 },
  bodyWithinMs,
  directory: given,
  disk,
}: EventApiOptions = {}) {
  const connection = await openTestDatabase();
  const { database } = connection;
  const directory = given ?? (await mkdtemp(join(tmpdir(), 'callboard-webhooks-')));
  const conversations = new ConversationRepository(database);
  const callbacks = new CallbackRepository(database);
  const sandboxes = new SandboxRepository(database);
  const real = createEventStore({ directory, database, disk });
  const events = wrapEvents ? wrapEvents(real) : real;
  const woken: string[] = [];
  const ended: string[] = [];
  const lost: string[] = [];
  const admitted = new WebhookAdmission(admission);
  const logger = pino({ level: 'silent' });
  const { app } = createApp({
    routes: [
      ...webhookRoutes({
        sandboxes,
        conversations,
        residence: new ConversationResidence(database),
        events,
        concealerOf: () => Promise.resolve((json) => json.replaceAll('a secret of the tests', MASK)),
        requireOwner,
        bodyLimit: 256 * 1024 * 1024,
        wakeConversation: (id) => void woken.push(id),
        onRunEnded: (id) => void ended.push(id),
        onLost: (id) => void lost.push(id),
        admission: admitted,
        bodyWithinMs,
        logger,
      }),
      ...eventRoutes({ events }),
    ],
    auth: byHeader,
    logger,
    server: { corsOrigins: [], instanceKey: null, publicUrl: null, bodyLimitBytes: 1_000_000 },
  });
  const server = await startServer(app, { host: '127.0.0.1', port: 0 });

  async function send<Body>(path: string, init: RequestInit): Promise<Answer<Body>> {
    const response = await fetch(`${server.url}${path}`, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
    return { status: response.status, body: (isJson ? JSON.parse(text) : text) as Body, text };
  }

  return {
    database,
    directory,
    conversations,
    callbacks,
    sandboxes,
    events,
    /** Conversations whose actor was woken, and whose run ended. */
    woken,
    ended,
    /** Conversations of which a webhook was not taken. */
    lost,
    admitted,
    url: server.url,
    async newSandbox(
      owner: string | null = null,
      status: 'RUNNING' | 'PAUSED' = 'RUNNING',
    ): Promise<TestSandbox> {
      const key = `key-${newId()}`;
      const id = await insertSandbox(database, {
        createdByUserId: owner,
        status,
        sessionApiKeyHash: lookupHash(key),
        lastActiveAt: new Date(0),
      });
      return { id, key, owner };
    },
    /** Posts a webhook; a text is sent as it is. */
    post: <Body = unknown>(path: string, key: string | null, body: unknown): Promise<Answer<Body>> =>
      send<Body>(path, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key === null ? {} : { 'X-Session-API-Key': key }),
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    get: <Body = unknown>(path: string, user: string | null = null): Promise<Answer<Body>> =>
      send<Body>(path, { headers: user === null ? {} : { 'X-Test-User': user } }),
    async conversation(id: string): Promise<ConversationRecord> {
      const row = await conversations.read(id);
      if (!row) throw new Error(`conversation ${id} is not stored`);
      return row;
    },
    async close(): Promise<void> {
      await server.close(0);
      await connection.close();
      if (given === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}

export type EventApi = Awaited<ReturnType<typeof startEventApi>>;
