import type { WebSocket } from 'ws';
import { keyOfAuthFrame } from './credentials.js';

export interface AuthFrame {
  /** The key in the first frame; null when the frame is none, or did not come in time. */
  key: string | null;
  /**
   * Hands over to `attach`, which listens to the client from now on: frames that came in one packet with the first
   * one follow it there.
   */
  proceed(attach: () => void): void;
}

/** Waits for the first frame of an accepted client, which is then paused. */
export async function receiveAuthFrame(client: WebSocket, limitMs: number): Promise<AuthFrame> {
  const frames: { data: Buffer; isBinary: boolean }[] = [];
  const collect = (data: Buffer, isBinary: boolean): void => void frames.push({ data, isBinary });
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      // Frames of the same packet are still emitted; they are collected.
      client.pause();
      resolve();
    };
    const timer = setTimeout(done, limitMs);
    client.on('message', collect);
    client.once('message', done);
    client.once('close', done);
  });
  const first = frames.shift();
  return {
    key: (first && keyOfAuthFrame(first.data, first.isBinary)) || null,
    proceed(attach) {
      client.off('message', collect);
      attach();
      for (const { data, isBinary } of frames) client.emit('message', data, isBinary);
    },
  };
}
