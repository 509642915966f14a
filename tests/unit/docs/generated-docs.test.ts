import { describe, expect, it } from 'vitest';
import { SANDBOX_ORDERS, SANDBOX_STATUSES } from '../../../contract/sandbox.js';
import { isObeyed } from '../../../contract/sandbox-transitions.js';
import { START_STATUSES } from '../../../contract/start-task.js';
import { generatedPages, outdatedPages } from '../../../scripts/generate-docs.js';

describe('the page of states', async () => {
  const page = (await generatedPages()).get('docs/states.md') ?? '';
  /** Cells of every row of a table. */
  const rows = page
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));

  it('is current', async () => {
    expect(await outdatedPages(), 'run `node --import tsx scripts/generate-docs.ts`').not.toContain(
      'docs/states.md',
    );
  });

  it('lists the statuses of a start in the order in which they are passed', () => {
    const listed = page.matchAll(/^\| \d+ +\| `([A-Z_]+)`/gm);
    expect([...listed].map(([, status]) => status)).toEqual([...START_STATUSES]);
  });

  it('says of every sandbox order in every state whether it is obeyed', () => {
    for (const status of SANDBOX_STATUSES) {
      const effects =
        rows.find(
          ([first, ...orders]) => first === `\`${status}\`` && orders.length === SANDBOX_ORDERS.length,
        ) ?? [];
      SANDBOX_ORDERS.forEach((order, column) => {
        const obeyed = effects[column + 1] !== 'refused' && effects[column + 1] !== undefined;
        expect(obeyed, `${order} of a sandbox that is ${status}`).toBe(isObeyed(order, status));
      });
    }
  });

  it('draws no order where it is refused', () => {
    for (const order of SANDBOX_ORDERS) {
      const drawn = [...page.matchAll(new RegExp(`^ *([A-Z]+) --> .*: ${order}( |,|$)`, 'gm'))].map(
        ([, from]) => from,
      );
      expect(drawn.length).toBeGreaterThan(0);
      const obeyed = SANDBOX_STATUSES.filter((status) => isObeyed(order, status));
      expect(obeyed).toEqual(expect.arrayContaining(drawn));
    }
  });
});

/** A route without the names of its parameters. */
const anonymous = (route: string): string => route.replaceAll(/\{[^}]*\}/g, '{}');

describe('the page of compatibility', async () => {
  const page = (await generatedPages()).get('docs/compatibility.md') ?? '';
  const [served = '', missing = ''] = page.split('## Not served in this version');

  it('is current', async () => {
    expect(await outdatedPages(), 'run `node --import tsx scripts/generate-docs.ts`').not.toContain(
      'docs/compatibility.md',
    );
  });

  it('lists what the routes declare, and nothing of it as missing', () => {
    const routes = [...served.matchAll(/`([A-Z]+ \/[^`]+)`/g)].map(([, route = '']) => anonymous(route));
    expect(routes).toContain('POST /api/v1/app-conversations/stream-start');
    expect(new Set(routes).size).toBe(routes.length);
    for (const [, route = ''] of missing.matchAll(/`([A-Z]+ \/[^`]+)`/g)) {
      expect(routes).not.toContain(anonymous(route));
    }
  });
});
