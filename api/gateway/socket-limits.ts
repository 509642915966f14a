import type { PipeOptions } from './pipe.js';

/** What a socket of the gateway may take, in time and in bytes. */
export interface SocketLimits extends Pick<
  PipeOptions,
  'heartbeatMs' | 'stallMs' | 'highWaterBytes' | 'closeMs'
> {
  /** How long an agent-server may take to accept a socket, in milliseconds. */
  connectMs: number;
  /** How long a client may take to send its key in a first frame, in milliseconds. */
  authMs: number;
  /** Most sockets whose clients have not said yet who they are. */
  unauthenticated: number;
  /** How often it is looked whether a user may still listen, in milliseconds. */
  lookAgainMs: number;
  /** Largest frame of a client's and of an agent-server's, in bytes. */
  clientFrameBytes: number;
  upstreamFrameBytes: number;
}

/** The agent-server pings every 20 s and gives up after 20 more, so whoever stalls has to be given up before. */
export const SOCKET_LIMITS: Omit<SocketLimits, 'clientFrameBytes'> = {
  heartbeatMs: 25_000,
  stallMs: 30_000,
  highWaterBytes: 1024 * 1024,
  closeMs: 2_000,
  connectMs: 10_000,
  authMs: 10_000,
  unauthenticated: 256,
  lookAgainMs: 60_000,
  upstreamFrameBytes: 64 * 1024 * 1024,
};
