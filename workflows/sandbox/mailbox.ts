import type { SandboxLetter } from '../../contract/sandbox-transitions.js';
import type { Letter } from '../messages.js';

export type { Letter } from '../messages.js';

interface Post<Outcome> {
  letter: Letter;
  settle: (outcome: Outcome) => void;
}

/** Letters in the order in which they came, each with whoever waits for it. A deletion overtakes them all. */
export class Mailbox<Outcome> {
  #posts: Post<Outcome>[] = [];

  get size(): number {
    return this.#posts.length;
  }

  put(letter: Letter): Promise<Outcome> {
    return new Promise((settle) => this.#posts.push({ letter, settle }));
  }

  /** The next one to be dealt with. Nothing that was ordered before a deletion is worth doing any more. */
  take(): Post<Outcome> | undefined {
    const deletion = this.#posts.findIndex(({ letter }) => letter.kind === 'delete');
    return this.#posts.splice(Math.max(deletion, 0), 1)[0];
  }

  /** The one that came last and has not been dealt with. */
  newest(): Letter | undefined {
    return this.#posts.at(-1)?.letter;
  }

  has(kind: SandboxLetter): boolean {
    return this.#posts.some(({ letter }) => letter.kind === kind);
  }

  /** Empties it, and answers whoever waits. */
  settleAll(outcome: Outcome): void {
    for (const { settle } of this.#posts.splice(0)) settle(outcome);
  }

  /** What another run has to deal with; nobody may be waiting for any of it. */
  letters(): Letter[] {
    return this.#posts.map(({ letter }) => letter);
  }
}
