/** Tells the person at the terminal what is being done, and for how long. */
export interface Progress {
  /**
   * Runs a step. While it runs its title, latest note and elapsed time are shown; at the end one
   * line remains, with the text `describe` makes of the result. Steps may run side by side.
   */
  step<T>(
    title: string,
    work: (note: (detail: string) => void) => Promise<T>,
    describe?: (result: T) => string,
  ): Promise<T>;
  /** Prints a line of its own. */
  line(text: string): void;
}

/** What `createProgress` writes to: a stream like `process.stderr`. */
export interface ProgressOutput {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

interface RunningStep {
  title: string;
  detail: string;
  startedAt: number;
}

const REPAINT_MS = 250;
const REMIND_MS = 10_000;

/** On a terminal a live line is repainted below the finished ones; elsewhere a line every 10 s says what still runs. */
export function createProgress(output: ProgressOutput, remindMs = REMIND_MS): Progress {
  const running = new Set<RunningStep>();
  const live = output.isTTY === true;
  let timer: NodeJS.Timeout | undefined;

  const clear = (): void => {
    if (live) output.write('\r\x1b[2K');
  };
  const paint = (): void => {
    if (running.size === 0) return;
    const text = [...running].map(
      (step) => `${step.title}${step.detail && `: ${step.detail}`} (${elapsed(step)})`,
    );
    if (live) output.write(`\r\x1b[2K${`  … ${text.join(', ')}`.slice(0, (output.columns ?? 80) - 1)}`);
    else for (const line of text) output.write(`  … ${line}\n`);
  };
  const line = (text: string): void => {
    clear();
    output.write(`${text}\n`);
    if (live) paint();
  };
  const finish = (step: RunningStep, text: string): void => {
    running.delete(step);
    if (running.size === 0) clearInterval(timer);
    line(text);
  };

  return {
    line,
    step: async (title, work, describe) => {
      const step: RunningStep = { title, detail: '', startedAt: Date.now() };
      if (running.size === 0) {
        timer = setInterval(paint, live ? REPAINT_MS : remindMs);
        timer.unref();
      }
      running.add(step);
      try {
        const result = await work((detail) => {
          step.detail = detail;
        });
        const description = describe?.(result);
        finish(step, `  ✓ ${title} (${elapsed(step)})${description ? `  ${description}` : ''}`);
        return result;
      } catch (err) {
        finish(step, `  ✗ ${title} (${elapsed(step)})`);
        throw err;
      }
    },
  };
}

function elapsed(step: RunningStep): string {
  const seconds = (Date.now() - step.startedAt) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
