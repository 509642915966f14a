/** The gateway put together: sockets always, REST routes and addresses where it is switched on. */
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';
import type { Config } from '../../config/config.js';
import type { NotificationHub } from '../../db/notifications.js';
import type { SandboxRepository } from '../../db/sandbox-repository.js';
import { createGatewayAccess, type GatewayAccessDeps } from './gateway-access.js';
import { httpGateway } from './http-gateway.js';
import { OpenSockets } from './open-sockets.js';
import { createSocketGateway, type SocketGateway } from './socket-gateway.js';
import { SOCKET_LIMITS, type SocketLimits } from './socket-limits.js';

export interface GatewayDeps extends Omit<GatewayAccessDeps, 'sandboxes' | 'server'> {
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash' | 'read'>;
  hub: Pick<NotificationHub, 'subscribe'>;
  events: { batch(conversationId: string, users: null, ids: readonly string[]): Promise<(string | null)[]> };
  server: GatewayAccessDeps['server'] & Pick<Config['server'], 'bodyLimitBytes'>;
  gateway: Config['gateway'];
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Shorter limits, for tests. */
  limits?: Partial<SocketLimits>;
}

export interface Gateway {
  sockets: SocketGateway;
  /** Serves agent-servers' routes; null where clients are to call them directly. */
  http: RequestHandler | null;
}

export function createGateway(deps: GatewayDeps): Gateway {
  const { gateway, logger } = deps;
  const access = createGatewayAccess(deps);
  const counting = deps.wrongKeys ? { wrongKeys: deps.wrongKeys } : {};
  const limits = { ...SOCKET_LIMITS, clientFrameBytes: deps.server.bodyLimitBytes, ...deps.limits };
  return {
    sockets: createSocketGateway({
      access,
      open: new OpenSockets({
        hub: deps.hub,
        sandboxes: deps.sandboxes,
        logger,
        limits: { perSandbox: gateway.socketsPerSandbox, perUser: gateway.socketsPerUser },
      }),
      limits,
      readEvent: async (conversationId, eventId) => {
        const [event] = await deps.events.batch(conversationId, null, [eventId]);
        return event ?? null;
      },
      ...counting,
      logger,
    }),
    http: gateway.enabled
      ? httpGateway({
          access,
          ...counting,
          connectMs: limits.connectMs,
          silenceMs: gateway.silenceSeconds * 1_000,
        })
      : null,
  };
}
