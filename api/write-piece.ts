import type { Response } from 'express';

/** Sends a piece at once, and waits while the client does not take what it was sent. */
export async function writePiece(response: Response, piece: string): Promise<void> {
  if (response.destroyed || response.write(piece)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
