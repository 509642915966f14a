import { z } from 'zod';
import { PageLimit, pageOf, Success, SUCCESS } from '../contract/primitives.js';
import { SandboxInfo } from '../contract/sandbox.js';
import type { SandboxReadModel } from '../db/sandbox-read-model.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { Actors } from './actors.js';
import type { AgentServerAccess } from './agent-server-access.js';
import { HttpError, notFound } from './http-error.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { route, type RouteDefinition } from './route.js';
import { createSandboxCommand, type SandboxCommandDeps } from './sandbox-command.js';
import { createSandboxOrders } from './sandbox-orders.js';
import { sandboxInfo } from './sandbox-view.js';

const BATCH_LIMIT = 100;

/** Which specs a caller may start a sandbox from. */
export interface SandboxSpecChoice {
  exists(specId: string): Promise<boolean>;
  /** The user's default spec, or that of the installation. */
  defaultFor(user: UserContext): Promise<string>;
}

export interface SandboxRouteDeps extends SandboxCommandDeps {
  sandboxes: SandboxCommandDeps['sandboxes'] & Pick<SandboxRepository, 'hide'>;
  list: Pick<SandboxReadModel, 'search' | 'batch' | 'read'>;
  actors: Pick<Actors, 'startSandbox' | 'order'>;
  agentServers: Pick<AgentServerAccess, 'sessionKey' | 'exposedUrls'>;
  specs: SandboxSpecChoice;
}

const Path = z.object({ sandbox_id: z.string() });

const ORDER_RESPONSES = {
  200: { description: 'The order is certain to be carried out.', schema: Success },
  403: { description: 'It belongs to another member of the organization.' },
  404: { description: 'There is no such sandbox.' },
  503: { description: 'The workflow service does not answer.' },
};

const LIMIT_REACHED = {
  description:
    'As many sandboxes of the user run as are allowed, and none of them may be paused for this one.',
};

/** Sandboxes: search, batch, start, pause, resume, delete (contract 5). */
export function sandboxRoutes(deps: SandboxRouteDeps): RouteDefinition[] {
  return [...queryRoutes(deps), startRoute(deps), ...orderRoutes(deps)];
}

function queryRoutes({ list, agentServers }: SandboxRouteDeps): RouteDefinition[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/sandboxes/search',
      summary: 'List sandboxes, newest first',
      tag: 'Sandboxes',
      guard: 'user',
      isPolled: true,
      query: z.object({ page_id: z.string().optional(), limit: PageLimit }),
      responses: { 200: { description: 'A page of sandboxes.', schema: pageOf(SandboxInfo) } },
      async handle({ query, user }) {
        const { records, nextPageId } = await list.search(await visibleUserIds(user), {
          limit: query.limit,
          pageId: query.page_id,
        });
        const items = await Promise.all(records.map((row) => sandboxInfo(user, row, agentServers)));
        return { items, next_page_id: nextPageId };
      },
    }),
    route({
      method: 'get',
      path: '/api/v1/sandboxes',
      summary: 'Get sandboxes by id, null for each that is not there',
      tag: 'Sandboxes',
      guard: 'user',
      isPolled: true,
      query: z.object({ id: z.array(z.string()) }),
      responses: {
        200: { description: 'In the order of the ids.', schema: z.array(SandboxInfo.nullable()) },
        400: { description: 'Too many ids.' },
      },
      async handle({ query: { id: ids }, user }) {
        if (ids.length > BATCH_LIMIT) {
          throw new HttpError(
            400,
            `Cannot request more than ${BATCH_LIMIT} sandboxes at once, got ${ids.length}`,
          );
        }
        const records = await list.batch(await visibleUserIds(user), ids);
        return Promise.all(records.map(async (row) => row && (await sandboxInfo(user, row, agentServers))));
      },
    }),
  ];
}

function startRoute({ specs, agentServers, ...deps }: SandboxRouteDeps): RouteDefinition {
  const start = createSandboxCommand(deps);
  return route({
    method: 'post',
    path: '/api/v1/sandboxes',
    summary: 'Start a sandbox; answers while it is STARTING, or RUNNING where one was kept warm',
    tag: 'Sandboxes',
    guard: 'user',
    limit: 'start',
    query: z.object({ sandbox_spec_id: z.string().optional() }),
    responses: {
      200: {
        description:
          'The new sandbox, RUNNING already if one was kept warm; for a repeated `Idempotency-Key` the one there is, as it is now.',
        schema: SandboxInfo,
      },
      404: { description: 'There is no such spec.' },
      409: { description: 'The sandbox of this `Idempotency-Key` was deleted.' },
      422: { description: 'This `Idempotency-Key` belongs to another request.' },
      429: LIMIT_REACHED,
      503: { description: 'The workflow service does not answer; nothing was started.' },
    },
    async handle({ query: { sandbox_spec_id: wanted = null }, user, request }) {
      const idempotencyKey = readIdempotencyKey(request);
      if (wanted !== null && !(await specs.exists(wanted))) {
        throw notFound(`Sandbox Spec '${wanted}' not found`);
      }
      const specId = wanted ?? (await specs.defaultFor(user));
      const row = await start({ wanted, specId, idempotencyKey, userId: user.userId });
      return sandboxInfo(user, row, agentServers);
    },
  });
}

function orderRoutes(deps: SandboxRouteDeps): RouteDefinition[] {
  const orders = createSandboxOrders(deps);
  return [
    route({
      method: 'post',
      path: '/api/v1/sandboxes/{sandbox_id}/pause',
      summary: 'Pause a sandbox; paused already is fine',
      tag: 'Sandboxes',
      guard: 'user',
      params: Path,
      responses: { ...ORDER_RESPONSES, 409: { description: 'It is in no state that can be paused.' } },
      async handle({ params, user }) {
        await orders.pause(user, params.sandbox_id);
        return SUCCESS;
      },
    }),
    route({
      method: 'post',
      path: '/api/v1/sandboxes/{sandbox_id}/resume',
      summary: 'Resume a sandbox; running already is fine',
      tag: 'Sandboxes',
      guard: 'user',
      limit: 'free', // opening a conversation must not wait for anything
      params: Path,
      responses: { ...ORDER_RESPONSES, 429: LIMIT_REACHED },
      async handle({ params, user }) {
        await orders.resume(user, params.sandbox_id);
        return SUCCESS;
      },
    }),
    route({
      method: 'delete',
      path: '/api/v1/sandboxes/{sandbox_id}',
      summary: 'Delete a sandbox; its conversations stay and show it as MISSING',
      tag: 'Sandboxes',
      guard: 'user',
      params: Path,
      // Older clients name the sandbox here and send anything in the path (contract 5.5).
      query: z.object({ sandbox_id: z.string().optional() }),
      responses: ORDER_RESPONSES,
      async handle({ params, query, user }) {
        const sandbox = await orders.mine(user, query.sandbox_id ?? params.sandbox_id);
        await deps.actors.order(sandbox, 'delete', 'accepted');
        await deps.sandboxes.hide(sandbox.id);
        return SUCCESS;
      },
    }),
  ];
}
