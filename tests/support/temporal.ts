import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import {
  bundleWorkflowCode,
  DefaultLogger,
  Runtime,
  Worker,
  type WorkerOptions,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { encryptedData, FAILURE_CONVERTER_PATH } from '../../identity/data-converter.js';
import { registerSearchAttributes } from '../../cli/search-attributes.js';
import { LONG_TASKS } from '../../cli/workflow-bundle.js';
import { withoutStackTraces } from '../../workflows/stack-traces.js';
import { required } from './environment.js';
import { TEST_KEYS } from './master-key.js';

export const WORKFLOWS_PATH = fileURLToPath(new URL('../../workflows/index.ts', import.meta.url));

/**
 * Connects to the Temporal server of the test run, in a new namespace: task queues have fixed names, so files that run
 * at the same time must not share one.
 */
export async function connectTemporal(
  address = required('TEST_TEMPORAL_ADDRESS'),
): Promise<TestWorkflowEnvironment> {
  const namespace = `test-${randomUUID()}`;
  const connection = await Connection.connect({ address });
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    });
    await registerSearchAttributes(connection, namespace);
  } finally {
    await connection.close();
  }
  return TestWorkflowEnvironment.createFromExistingServer({ address, namespace, client: { dataConverter } });
}

/** Payloads and failures are encrypted in tests as they are in the product. */
export const dataConverter = encryptedData(TEST_KEYS);

/** The product's workflows, bundled from source; once per test file. */
export async function bundleWorkflows(): Promise<WorkflowBundleWithSourceMap> {
  const bundle = await bundleWorkflowCode({
    workflowsPath: WORKFLOWS_PATH,
    failureConverterPath: FAILURE_CONVERTER_PATH,
    logger: quiet,
  });
  return { ...bundle, code: withoutStackTraces(bundle.code) };
}

/** What Temporal's libraries say in tests: errors of workers only; a failed activity is often what is tested. */
const quiet = new DefaultLogger('ERROR');
Runtime.install({
  logger: quiet,
  telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
});

/** A queue of its own for each test. */
export const uniqueTaskQueue = (): string => `test-${randomUUID()}`;

export function createTestWorker(
  environment: TestWorkflowEnvironment,
  options: Omit<WorkerOptions, 'connection' | 'namespace'>,
): Promise<Worker> {
  return Worker.create({
    connection: environment.nativeConnection,
    namespace: environment.namespace ?? 'default',
    dataConverter,
    maxHeartbeatThrottleInterval: '1s',
    ...LONG_TASKS,
    ...options,
  });
}
