/** Answers kept for a short time, in a bounded number; equal questions at the same time are asked once. */
export class BoundedCache<Value> {
  readonly #entries = new Map<string, { until: number; value: Promise<Value> }>();

  /**
   * @param freshForMs how long an answer counts, in milliseconds.
   * @param most how many answers are kept; the least recently made goes first.
   */
  constructor(
    private readonly freshForMs: number,
    private readonly most: number,
    private readonly now: () => number = Date.now,
  ) {}

  /** The answer, from the cache or by asking; a failure is not remembered. */
  get(key: string, ask: () => Promise<Value>): Promise<Value> {
    const known = this.#entries.get(key);
    if (known && known.until > this.now()) return known.value;
    this.#entries.delete(key);
    const value = ask();
    this.#entries.set(key, { until: this.now() + this.freshForMs, value });
    value.catch(() => {
      if (this.#entries.get(key)?.value === value) this.#entries.delete(key);
    });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.most && oldest !== undefined) this.#entries.delete(oldest);
    return value;
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}

/** Runs one task per key at a time; whoever asks meanwhile shares its outcome. */
export class SingleFlight<Value> {
  readonly #running = new Map<string, Promise<Value>>();

  run(key: string, task: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = task().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }
}
