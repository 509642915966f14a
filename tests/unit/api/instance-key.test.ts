import { describe, expect, it } from 'vitest';
import { servedRoutes } from '../../../scripts/generate-compatibility.js';

describe('the key of the instance', () => {
  /** By a credential of their own (contract 1.7), or for everybody. */
  const ELSE = [
    /^\w+ \/api\/v1\/webhooks\//,
    /^get \/api\/v1\/sandboxes\/\{sandbox_id\}\/settings\/secrets/,
    /^\w+ \/api\/v1\/temporal-codec\//,
    /^get \/api\/v1\/web-client\/config$/,
  ];

  it('is asked for by every V1 route that no other credential opens (D4)', () => {
    const routes = servedRoutes().filter(({ path }) => path.startsWith('/api/v1/'));
    expect(routes.length).toBeGreaterThan(60);
    for (const { method, path, guard } of routes) {
      const route = `${method} ${path}`;
      expect(guard === 'user', route).toBe(!ELSE.some((pattern) => pattern.test(route)));
    }
  });
});
