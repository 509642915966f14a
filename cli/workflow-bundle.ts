import type { WorkerOptions } from '@temporalio/worker';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withoutStackTraces } from '../workflows/stack-traces.js';
import { UserError } from './user-error.js';

/**
 * How long workflow code may hold its thread. The SDK ends the whole process, with all workflows on it, when a task
 * takes longer than its own limit of five seconds; thousands of signals that waited for a worker on a busy machine are no
 * reason for that. The option is passed on by this version of the SDK, but is not among its types.
 */
export const LONG_TASKS: Partial<WorkerOptions> = Object.freeze<object>({ isolateExecutionTimeout: '30s' });

/**
 * The workflows that `npm run build` bundled, as a worker runs them.
 * @param stackTraces whether open workflows can be asked where they stand, at four times the processor time
 */
export function workflowBundle(stackTraces: boolean): { code: string } {
  const code = readFileSync(bundlePath(), 'utf8');
  return { code: stackTraces ? code : withoutStackTraces(code) };
}

function bundlePath(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const path = [join(here, '..', 'workflow-bundle.js'), join(here, '..', 'dist', 'workflow-bundle.js')].find(
    (candidate) => existsSync(candidate),
  );
  if (path) return path;
  throw new UserError('The workflow bundle is missing: make it with npm run build.');
}
