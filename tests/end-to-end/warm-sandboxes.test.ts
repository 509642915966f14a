import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { sandboxPoolWorkflowId, sandboxWorkflowId } from '../../contract/ids.js';
import { openDatabase, type DatabaseConnection } from '../../db/database.js';
import { Hosts } from '../../db/hosts.js';
import { sandboxes } from '../../db/schema/index.js';
import { WarmSandboxes, type WarmSandbox } from '../../db/warm-sandboxes.js';
import { FORKED_SANDBOX_BYTES } from '../../sandboxes/sandbox-memory.js';
import { runStatus, streamStart, userMessage } from '../support/conversations.js';
import { STATUSES_OF_A_START } from '../support/fake-phases.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

const WITHIN = { timeout: 90_000, interval: 100 };
/** Two boots in turn, on a machine that others use too. */
const LONG = 420_000;

describe('a worker that keeps a sandbox warm', () => {
  let llm: ScriptedLlm;
  let product: Product;
  let database: DatabaseConnection;
  let warm: WarmSandboxes;
  let specId: string;

  beforeAll(async () => {
    llm = await startScriptedLlm({ steps: [finish('Done')] });
    product = await startProduct({
      env: {
        CALLBOARD_WARM_SANDBOXES: '1',
        CALLBOARD_WARM_SANDBOXES_MAX: '1',
        LLM_MODEL: 'openai/scripted',
        LLM_API_KEY: 'sk-scripted',
        LLM_BASE_URL: llm.url,
      },
    });
    database = openDatabase({ url: product.databaseUrl });
    warm = new WarmSandboxes(database.database);
  });
  afterAll(async () => {
    await database.close();
    await product.stop();
    await llm.close();
  });

  const pool = () => product.temporal.client.workflow.getHandle(sandboxPoolWorkflowId(specId));
  /** Waits until one is ready. */
  const ready = (): Promise<WarmSandbox> =>
    vi.waitFor(async () => {
      specId = (await warm.specs())[0] ?? '';
      const [one] = (await warm.ofSpec(specId)).filter(({ retired }) => !retired);
      expect(one?.status).toBe('RUNNING');
      return one!;
    }, WITHIN);

  it(
    'gives it to a start, which boots nothing, works in it, and finds another one made in its place',
    async () => {
      const first = await ready();
      const boots = () => product.worker.output.split('\n').filter((line) => line.includes('"bootMs"'));
      const before = boots();
      const listed = await product.call<{ items: unknown[] }>('GET', '/api/v1/sandboxes/search');
      expect(listed.body.items).toEqual([]);

      const tasks = await streamStart(product, { initial_message: userMessage('Hello') });
      const end = tasks.at(-1)!;
      expect(end.status, end.detail ?? '').toBe('READY');
      expect(tasks.map(({ status }) => status)).toEqual(STATUSES_OF_A_START);
      expect(end.sandbox_id).toBe(first.id);
      // It never was anything but RUNNING while it was the start's: its actor was not even asked.
      expect(boots().filter((line) => line.includes(first.id))).toEqual(
        before.filter((line) => line.includes(first.id)),
      );
      // Its webhooks, which carry the key of its boot, are taken as those of its user.
      const conversation = await runStatus(product, end.app_conversation_id!, 'finished');
      expect(conversation.sandbox_id).toBe(first.id);

      const second = await ready();
      expect(second.id).not.toBe(first.id);
      // It was forked, so that its machine has room for more of them.
      await vi.waitFor(async () => {
        const machines = await new Hosts(database.database).present();
        expect(machines).toMatchObject([{ id: second.hostId, sandboxBytes: FORKED_SANDBOX_BYTES }]);
      }, WITHIN);
      const [mine] = await database.database.select().from(sandboxes).where(eq(sandboxes.id, first.id));
      const [next] = await database.database.select().from(sandboxes).where(eq(sandboxes.id, second.id));
      expect(next!.sessionApiKeyHash).not.toBe(mine!.sessionApiKeyHash);
    },
    LONG,
  );

  it(
    'replaces it when its process is killed',
    async () => {
      const { id } = await ready();
      const [row] = await database.database.select().from(sandboxes).where(eq(sandboxes.id, id));
      process.kill((row!.handle as { pid: number }).pid, 'SIGKILL');
      await vi.waitFor(async () => {
        const [now] = await database.database.select().from(sandboxes).where(eq(sandboxes.id, id));
        expect(now!.status).toBe('MISSING');
      }, WITHIN);
      await pool().signal('look'); // instead of waiting for the minute to be over
      expect((await ready()).id).not.toBe(id);
      await vi.waitFor(async () => {
        const { status } = await product.temporal.client.workflow.getHandle(sandboxWorkflowId(id)).describe();
        expect(status.name).toBe('COMPLETED');
      }, WITHIN);
    },
    LONG,
  );
});
