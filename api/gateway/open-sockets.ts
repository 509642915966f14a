/** Which sockets are open: limits, ending those of a sandbox that stops, ending all at a shutdown. */
import type { Logger } from 'pino';
import { SANDBOX_CHANNEL, type NotificationHub } from '../../db/notifications.js';
import type { SandboxRepository } from '../../db/sandbox-repository.js';
import { HttpError } from '../http-error.js';
import type { Reachable } from './gateway-access.js';
import type { Pipe } from './pipe.js';
import type { CloseFrame } from './refusal.js';

export interface OpenSocketsDeps {
  hub: Pick<NotificationHub, 'subscribe'>;
  sandboxes: Pick<SandboxRepository, 'read'>;
  logger: Pick<Logger, 'warn'>;
  /** Most sockets to one sandbox, and to all sandboxes of one user. */
  limits: { perSandbox: number; perUser: number };
}

/** A place among the open sockets, taken before anything is opened. */
export interface Place {
  /** From now on the pipe ends with its sandbox. */
  hold(pipe: Pipe): void;
  release(): void;
}

interface SandboxSockets {
  places: number;
  pipes: Set<Pipe>;
  unsubscribe: () => void;
}

/** The open sockets of this process. */
export class OpenSockets {
  readonly #sandboxes = new Map<string, SandboxSockets>();
  readonly #users = new Map<string, number>();

  constructor(private readonly deps: OpenSocketsDeps) {}

  /**
   * @throws {HttpError} 429 when sandbox or user has as many sockets as it may have
   */
  take({ sandboxId, owner }: Pick<Reachable, 'sandboxId' | 'owner'>): Place {
    const { perSandbox, perUser } = this.deps.limits;
    const ofUser = owner === null ? 0 : (this.#users.get(owner) ?? 0);
    if ((this.#sandboxes.get(sandboxId)?.places ?? 0) >= perSandbox || ofUser >= perUser) {
      throw new HttpError(429, 'Too many sockets are open here: close some first.', undefined, {
        'Retry-After': '5',
      });
    }
    const sockets = this.#sandboxes.get(sandboxId) ?? this.#open(sandboxId);
    sockets.places++;
    if (owner !== null) this.#users.set(owner, ofUser + 1);
    let taken = true;
    let held: Pipe | undefined;
    return {
      hold: (pipe) => {
        held = pipe;
        sockets.pipes.add(pipe);
        // What happened while the socket was being opened told nobody.
        void this.#look(sandboxId, sockets);
      },
      release: () => {
        if (!taken) return;
        taken = false;
        if (held) sockets.pipes.delete(held);
        this.#release(sandboxId, sockets, owner);
      },
    };
  }

  get size(): number {
    return [...this.#sandboxes.values()].reduce((sum, { pipes }) => sum + pipes.size, 0);
  }

  /** Closes everything; resolves when all are closed. */
  async endAll(frame: CloseFrame): Promise<void> {
    const pipes = [...this.#sandboxes.values()].flatMap((sockets) => [...sockets.pipes]);
    for (const pipe of pipes) pipe.end(frame);
    await Promise.all(pipes.map(({ ended }) => ended));
  }

  #open(sandboxId: string): SandboxSockets {
    const sockets: SandboxSockets = { places: 0, pipes: new Set(), unsubscribe: () => undefined };
    sockets.unsubscribe = this.deps.hub.subscribe(SANDBOX_CHANNEL, sandboxId, () => {
      void this.#look(sandboxId, sockets);
    });
    this.#sandboxes.set(sandboxId, sockets);
    return sockets;
  }

  #release(sandboxId: string, sockets: SandboxSockets, owner: string | null): void {
    if (--sockets.places === 0) {
      sockets.unsubscribe();
      this.#sandboxes.delete(sandboxId);
    }
    if (owner === null) return;
    const left = (this.#users.get(owner) ?? 1) - 1;
    if (left === 0) this.#users.delete(owner);
    else this.#users.set(owner, left);
  }

  /** A frozen agent-server would leave its sockets open and silent: they are closed as soon as the sandbox's state says so. */
  async #look(sandboxId: string, { pipes }: SandboxSockets): Promise<void> {
    try {
      const sandbox = await this.deps.sandboxes.read(sandboxId);
      const frame = !sandbox || sandbox.deletedAt ? DELETED : CLOSED_IN[sandbox.status];
      if (frame) for (const pipe of [...pipes]) pipe.end(frame);
    } catch (error) {
      // The hub wakes us again when the database is back.
      this.deps.logger.warn({ err: error, sandboxId }, 'the state of a sandbox with open sockets is unknown');
    }
  }
}

const DELETED: CloseFrame = { code: 4004, reason: 'The sandbox of this conversation was deleted.' };

/** How sockets end in each state of their sandbox; a client may connect again when it is RUNNING. */
const CLOSED_IN: Record<string, CloseFrame | undefined> = {
  PAUSED: { code: 1012, reason: 'The sandbox is PAUSED: resume it, then connect again.' },
  STARTING: { code: 1012, reason: 'The sandbox is starting: connect again when it is RUNNING.' },
  ERROR: { code: 1012, reason: 'The sandbox is in ERROR: resume it, then connect again.' },
  MISSING: { code: 1012, reason: 'The sandbox is MISSING: resume it, then connect again.' },
};
