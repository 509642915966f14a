import type { SandboxLetter } from '../../contract/sandbox-transitions.js';
import type { Letter } from '../messages.js';

export type { Letter } from '../messages.js';

interface Post<Outcome> {
  letter: Letter;
  outcome: Promise<Outcome>;
  settle: (outcome: Outcome) => void;
  /** Whether it was told in passing, so that a newer one of its kind says all that it says. */
  inPassing: boolean;
}

/** Letters in the order in which they came, each with whoever waits for it. A deletion overtakes them all. */
export class Mailbox<Outcome> {
  #posts: Post<Outcome>[] = [];

  get size(): number {
    return this.#posts.length;
  }

  put(letter: Letter): Promise<Outcome> {
    return this.#push(letter, false);
  }

  /**
   * The same for what may come by the thousand: it takes the place of one of its kind that was put in this way and has
   * not been dealt with, so that there are never more of these than kinds.
   */
  putInPassing(letter: Letter): Promise<Outcome> {
    const earlier = this.#posts.findIndex((post) => post.inPassing && post.letter.kind === letter.kind);
    const [replaced] = earlier === -1 ? [] : this.#posts.splice(earlier, 1);
    if (!replaced) return this.#push(letter, true);
    // Whoever waits for the one that was replaced is answered together with the rest.
    this.#posts.push({ ...replaced, letter });
    return replaced.outcome;
  }

  /** The next one to be dealt with. Nothing that was ordered before a deletion is worth doing any more. */
  take(): Post<Outcome> | undefined {
    const deletion = this.#posts.findIndex(({ letter }) => letter.kind === 'delete');
    return this.#posts.splice(Math.max(deletion, 0), 1)[0];
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

  #push(letter: Letter, inPassing: boolean): Promise<Outcome> {
    let settle: (outcome: Outcome) => void = () => undefined;
    const outcome = new Promise<Outcome>((resolve) => (settle = resolve));
    this.#posts.push({ letter, outcome, settle, inPassing });
    return outcome;
  }
}
