/** Joins a client's socket with an agent-server's: frames both ways, closes both ways, and never more than a bit in memory. */
import type WebSocket from 'ws';
import { shortened, type CloseFrame } from './refusal.js';

export interface PipeOptions {
  /** How often both ends are asked whether they live, in milliseconds; one that missed a whole turn is given up. */
  heartbeatMs: number;
  /** How long an end may take nothing while something waits for it, in milliseconds. */
  stallMs: number;
  /** Bytes waiting for one end, above which the other end is no longer read. */
  highWaterBytes: number;
  /** How long an end may take to answer a close, in milliseconds. */
  closeMs: number;
  /** Whether a frame of the client's is passed on. */
  fromClient?: (data: Buffer, isBinary: boolean) => boolean;
  /** Whether a frame of the agent-server's is passed on. */
  fromUpstream?: (data: Buffer, isBinary: boolean) => boolean;
}

export interface Pipe {
  /** Closes both ends; the client is told why. */
  end(frame: CloseFrame): void;
  /** Resolves with the client's close when both ends are closed. */
  readonly ended: Promise<void>;
}

const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** What a client is told when the agent-server went without a word: reconnecting helps, once it is back. */
const UPSTREAM_LOST: CloseFrame = {
  code: 1012,
  reason: 'The agent-server went away; connect again when the sandbox is RUNNING.',
};
const CLIENT_LOST: CloseFrame = { code: 1001, reason: 'The client went away.' };
const CLIENT_SLOW: CloseFrame = { code: 1013, reason: 'This client reads too slowly; connect again.' };
const UPSTREAM_SLOW: CloseFrame = {
  code: 1012,
  reason: 'The agent-server takes no messages; connect again.',
};
const UPSTREAM_SILENT: CloseFrame = {
  code: 1012,
  reason: 'The agent-server does not answer; connect again.',
};

/** Starts to pass frames at once; ends that were paused are resumed. */
export function pipe(client: WebSocket, upstream: WebSocket, options: PipeOptions): Pipe {
  const timers: NodeJS.Timeout[] = [];
  const closed = (socket: WebSocket): Promise<void> =>
    new Promise((resolve) => {
      if (socket.readyState === CLOSED) resolve();
      else socket.once('close', () => resolve());
    });

  const hangUp = (socket: WebSocket, { code, reason }: CloseFrame): void => {
    if (socket.readyState === CLOSED) return;
    // 1005 stands for a close without a code, which is passed on as one; the handshake was over, so 1006 never gets here.
    if (code === 1005) socket.close();
    else socket.close(code, shortened(reason));
    // A close waits behind what is still to be sent, and for the other end's answer: both end here.
    socket.resume();
    timers.push(setTimeout(() => socket.terminate(), options.closeMs));
  };
  const end = (frame: CloseFrame): void => {
    hangUp(client, frame);
    hangUp(upstream, { code: 1001, reason: frame.reason });
  };

  client.on('close', (code, reason) => {
    hangUp(upstream, code === 1006 ? CLIENT_LOST : { code, reason: reason.toString() });
  });
  upstream.on('close', (code, reason) => {
    hangUp(client, code === 1006 ? UPSTREAM_LOST : { code, reason: reason.toString() });
  });
  // `ws` closes the end that broke the protocol with the fitting code; the other end hears of it by the close.
  client.on('error', () => undefined);
  upstream.on('error', (error: Error & { code?: string }) => {
    if (error.code !== 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return;
    hangUp(client, { code: 1009, reason: 'The agent-server sent a frame that is too large to pass on.' });
  });

  const { fromClient, fromUpstream } = options;
  passOn(client, upstream, options, fromClient, () => end(UPSTREAM_SLOW));
  passOn(upstream, client, options, fromUpstream, () => end(CLIENT_SLOW));
  timers.push(
    heartbeat(client, options.heartbeatMs, () => client.terminate()),
    heartbeat(upstream, options.heartbeatMs, () => {
      hangUp(client, UPSTREAM_SILENT);
      upstream.terminate();
    }),
  );
  if (client.readyState >= CLOSING) hangUp(upstream, CLIENT_LOST);
  client.resume();
  upstream.resume();

  const ended = Promise.all([closed(client), closed(upstream)]).then(() => {
    for (const timer of timers) clearTimeout(timer);
  });
  return { end, ended };
}

/** Frames one way. When the receiving end does not keep up, the sending end is not read until it does. */
function passOn(
  from: WebSocket,
  to: WebSocket,
  { highWaterBytes, stallMs }: PipeOptions,
  wanted: PipeOptions['fromClient'],
  stalled: () => void,
): void {
  let patience: NodeJS.Timeout | undefined;
  const sent = (): void => {
    if (!from.isPaused) return;
    if (to.bufferedAmount <= highWaterBytes / 2) {
      clearTimeout(patience);
      if (from.readyState === OPEN) from.resume();
    } else {
      patience?.refresh(); // slow, but it moves
    }
  };
  from.on('message', (data: Buffer, isBinary) => {
    if (to.readyState !== OPEN || (wanted && !wanted(data, isBinary))) return;
    to.send(data, { binary: isBinary }, sent);
    if (to.bufferedAmount > highWaterBytes && !from.isPaused) {
      from.pause();
      clearTimeout(patience);
      patience = setTimeout(stalled, stallMs);
    }
  });
  const stop = (): void => clearTimeout(patience);
  from.once('close', stop);
  to.once('close', stop);
}

/** Pings; calls `lost` when neither an answer nor anything else came for a whole turn. */
function heartbeat(socket: WebSocket, everyMs: number, lost: () => void): NodeJS.Timeout {
  let heard = true;
  const hear = (): void => {
    heard = true;
  };
  socket.on('pong', hear).on('ping', hear).on('message', hear);
  const timer = setInterval(() => {
    if (socket.readyState !== OPEN) return;
    // While we do not read, we cannot hear; the stall has its own limit.
    if (!heard && !socket.isPaused) {
      lost();
      return;
    }
    heard = false;
    socket.ping();
  }, everyMs);
  timer.unref();
  return timer;
}
