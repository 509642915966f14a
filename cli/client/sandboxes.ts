import type { Page } from '../../contract/primitives.js';
import { SANDBOX_ORDERS, type SandboxInfo, type SandboxOrder } from '../../contract/sandbox.js';
import { UserError } from '../user-error.js';
import { callApi, type ApiTarget } from './api-client.js';

const USAGE = 'Say ./callboard sandboxes list, or pause, resume or delete with one or more sandbox ids.';

/** `callboard sandboxes list|pause|resume|delete`. */
export async function runSandboxes(
  target: ApiTarget,
  [verb, ...ids]: readonly string[],
  print: (line: string) => void,
): Promise<void> {
  if (verb === 'list' && ids.length === 0) return list(target, print);
  const order = SANDBOX_ORDERS.find((candidate) => candidate === verb);
  if (!order || ids.length === 0) throw new UserError(USAGE);
  for (const id of ids) {
    await give(target, order, id);
    print(`${order} ${id}: ordered`);
  }
}

async function list(target: ApiTarget, print: (line: string) => void): Promise<void> {
  let cursor: string | null = null;
  let count = 0;
  do {
    const query: string = cursor ? `&page_id=${encodeURIComponent(cursor)}` : '';
    const response = await callApi(target, 'GET', `/api/v1/sandboxes/search?limit=100${query}`);
    const page = (await response.json()) as Page<SandboxInfo>;
    for (const { id, status, created_at, exposed_urls } of page.items) {
      const url = exposed_urls?.find(({ name }) => name === 'AGENT_SERVER')?.url ?? '-';
      print(`${id.padEnd(34)} ${status.padEnd(9)} ${created_at.slice(0, 19)}Z  ${url}`);
      count++;
    }
    cursor = page.next_page_id;
  } while (cursor);
  if (count === 0) print('There are no sandboxes.');
}

async function give(target: ApiTarget, order: SandboxOrder, id: string): Promise<void> {
  const path = `/api/v1/sandboxes/${encodeURIComponent(id)}`;
  const unknown = `There is no sandbox ${id}: ./callboard sandboxes list names those there are.`;
  if (order === 'delete') await callApi(target, 'DELETE', path, undefined, unknown);
  else await callApi(target, 'POST', `${path}/${order}`, {}, unknown);
}
