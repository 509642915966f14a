import { createHash } from 'node:crypto';
import { maskPlugins } from '../contract/start-secrets.js';
import type { StartRequest } from '../contract/start-task.js';

/**
 * Tells two start requests apart without keeping either: equal for equal requests, in whatever order their members were
 * sent. Of secrets and of plugins' parameters only the names count, so that no hash of a value is stored.
 */
export function requestFingerprint({ secrets, plugins, ...request }: StartRequest): string {
  const names = secrets === null ? null : Object.keys(secrets).sort();
  return createHash('sha256')
    .update(JSON.stringify(inOrder({ ...request, plugins: plugins && maskPlugins(plugins), secrets: names })))
    .digest('hex');
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, member]) => [name, inOrder(member)]);
}
