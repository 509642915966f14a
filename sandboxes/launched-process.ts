import { EventEmitter } from 'node:events';
import { constants } from 'node:os';

/** What is known of an agent-server's process by whoever has started it; a `ChildProcess` is one. */
export interface LaunchedProcess {
  readonly pid?: number | undefined;
  readonly exitCode: number | null;
  readonly signalCode: NodeJS.Signals | null;
  once(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'exit', listener: (code: number | null, signal: NodeJS.Signals | null) => void): unknown;
}

/** A process that another one has made for us, and of whose end it tells. */
export class ForkedProcess extends EventEmitter implements LaunchedProcess {
  exitCode: number | null = null;
  signalCode: NodeJS.Signals | null = null;
  /** When we heard of it, in milliseconds since 1970. */
  readonly born = Date.now();

  constructor(readonly pid: number) {
    super();
  }

  /** @param status exit code, or the number of the signal that ended it, below zero */
  end(status: number): void {
    if (status >= 0) this.exitCode = status;
    else this.signalCode = nameOf(-status);
    this.emit('exit', this.exitCode, this.signalCode);
  }
}

/** Signals that have no name (of real time) are told as SIGKILL: they end a process as surely. */
function nameOf(signal: number): NodeJS.Signals {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return (found?.[0] as NodeJS.Signals | undefined) ?? 'SIGKILL';
}
