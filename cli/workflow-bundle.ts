import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withoutStackTraces } from '../workflows/stack-traces.js';
import { UserError } from './user-error.js';

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
