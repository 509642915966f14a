import type { Config } from '../config/config.js';

/** How a process of this machine reaches an API that listens on this machine. */
export function localUrl({ server }: Pick<Config, 'server'>, port: number): string {
  const everywhere = server.host === '0.0.0.0' || server.host === '::';
  const host = everywhere ? '127.0.0.1' : server.host.includes(':') ? `[${server.host}]` : server.host;
  return `http://${host}:${port}`;
}
