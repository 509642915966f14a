/** Wakes one waiter; rung while nobody waits, it is remembered. */
export class Bell {
  #rung = false;
  #waiter: (() => void) | null = null;

  ring(): void {
    this.#rung = true;
    this.#waiter?.();
  }

  async rung(): Promise<void> {
    if (!this.#rung) await new Promise<void>((resolve) => (this.#waiter = resolve));
    this.#rung = false;
    this.#waiter = null;
  }
}
