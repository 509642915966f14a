import { Connection } from '@temporalio/client';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { readFile } from 'node:fs/promises';
import type { Config } from '../config/config.js';

export type TemporalOptions = Pick<NativeConnectionOptions, 'tls'> & { address: string; apiKey?: string };

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
