import { Connection } from '@temporalio/client';
import { NativeConnection, type NativeConnectionOptions } from '@temporalio/worker';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.js';
import type { Logger } from 'pino';

type TemporalOptions = Pick<NativeConnectionOptions, 'tls'> & { address: string; apiKey?: string };

/** How Temporal is reached: address, TLS and key as configured. */
export async function temporalOptions({ temporal }: Config, address: string): Promise<TemporalOptions> {
  const file = (path: string | null) => (path ? readFile(path) : undefined);
  const [ca, crt, key] = await Promise.all([
    file(temporal.tlsServerCaCertPath),
    file(temporal.tlsClientCertPath),
    file(temporal.tlsClientKeyPath),
  ]);
  const encrypted = temporal.tls || temporal.apiKey || ca || crt || temporal.tlsServerName;
  return {
    address,
    ...(temporal.apiKey ? { apiKey: temporal.apiKey.reveal() } : {}),
    ...(encrypted
      ? {
          tls: {
            ...(temporal.tlsServerName ? { serverNameOverride: temporal.tlsServerName } : {}),
            ...(ca ? { serverRootCACertificate: ca } : {}),
            ...(crt && key ? { clientCertPair: { crt, key } } : {}),
          },
        }
      : {}),
  };
}

/** A client connection that is made when it is first needed, and again after an outage. */
export const lazyConnection = (options: TemporalOptions): Connection =>
  Connection.lazy({ ...options, connectTimeout: '5s' });

const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 5_000;

/**
 * Connects for as long as it takes: one failed attempt at boot must not leave a worker that looks healthy and does
 * nothing.
 * @throws the signal's reason when aborted.
 */
export async function connectWorker(
  options: TemporalOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<NativeConnection> {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    signal.throwIfAborted();
    try {
      return await NativeConnection.connect(options);
    } catch (err) {
      logger.warn({ err, address: options.address }, 'Temporal does not answer yet');
      await sleep(wait, undefined, { signal });
    }
  }
}
