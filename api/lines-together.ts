import type { DestinationStream } from 'pino';

/** From here on a line tells of something wrong: pino's number for `warn`. */
const WARN = 40;

/**
 * Hands lines of a log on together, all of one turn of the event loop: a busy server would otherwise ask the system to
 * write once per request. A line that tells of something wrong, which may be the last one, waits for nothing and takes
 * with it what waits. Whatever ends a process short of killing it, the rest is handed on beforehand.
 */
export class LinesTogether implements DestinationStream {
  /** Set by the logger before each line. */
  lastLevel = 0;
  #waiting = '';

  constructor(private readonly output: DestinationStream) {
    Object.defineProperty(this, Symbol.for('pino.metadata'), { value: true }); // has the logger set `lastLevel`
    process.once('exit', () => this.#handOn());
  }

  write(line: string): void {
    const isFirst = this.#waiting === '';
    this.#waiting += line;
    if (this.lastLevel >= WARN) this.#handOn();
    else if (isFirst) setImmediate(() => this.#handOn());
  }

  #handOn(): void {
    const lines = this.#waiting;
    this.#waiting = '';
    if (lines !== '') this.output.write(lines);
  }
}
