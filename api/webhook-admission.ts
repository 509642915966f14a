/** How much webhooks may have in hand at a time: what is beyond it is refused at once, and sent again by its sender. */
import { HttpError } from './http-error.js';

export interface AdmissionLimits {
  /** Bytes of bodies that have arrived and are not stored yet. One body alone may be larger. */
  bytes: number;
  /** Webhooks that have begun and are not answered yet. One sender may have half of them. */
  requests: number;
}

/** A webhook that was let in; `leave` has to be called once, however it ends. */
export interface Admitted {
  /** Accounts for bytes that have arrived. @throws {HttpError} 503 when there is no room for them */
  take(bytes: number): void;
  leave(): void;
}

/** Agent-servers try again after a second, whatever they are told. */
const RETRY_AFTER_SECONDS = 1;

/**
 * Keeps the memory of this process bounded while disk or database are slow: an agent-server keeps what is refused and
 * sends it again, and what it gives up is fetched from its log later.
 */
export class WebhookAdmission {
  #bytes = 0;
  #requests = 0;
  readonly #bySender = new Map<string, number>();

  constructor(private readonly limits: AdmissionLimits) {}

  /** Webhooks and bytes in hand. */
  get inHand(): AdmissionLimits {
    return { bytes: this.#bytes, requests: this.#requests };
  }

  /**
   * @param sender tells senders apart, so that none of them takes all the room
   * @throws {HttpError} 503
   */
  enter(sender: string): Admitted {
    const ofSender = this.#bySender.get(sender) ?? 0;
    if (this.#requests >= this.limits.requests || ofSender >= Math.ceil(this.limits.requests / 2)) {
      throw busy();
    }
    this.#requests++;
    this.#bySender.set(sender, ofSender + 1);
    let taken = 0;
    return {
      take: (bytes) => {
        // A body that has all the room for itself may be as large as bodies may be.
        if (this.#bytes + bytes > this.limits.bytes && this.#bytes > taken) throw busy();
        taken += bytes;
        this.#bytes += bytes;
      },
      leave: () => {
        this.#bytes -= taken;
        this.#requests--;
        const left = (this.#bySender.get(sender) ?? 1) - 1;
        if (left > 0) this.#bySender.set(sender, left);
        else this.#bySender.delete(sender);
      },
    };
  }
}

const busy = (): HttpError =>
  new HttpError(503, 'More events arrive than can be stored at the moment; send them again.', undefined, {
    'Retry-After': String(RETRY_AFTER_SECONDS),
  });
