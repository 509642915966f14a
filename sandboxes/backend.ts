/** What a sandbox back-end can do. One adapter per back-end; each method may be called again after a crash. */

/** Everything a back-end needs to bring up one sandbox; secrets are given per call and never stored by it in the clear. */
export interface SandboxLaunch {
  sandboxId: string;
  /** Opaque spec id (contract 1.2), for the process back-end the agent-server version. */
  specId: string;
  /** Port the agent-server has to listen on, leased by the caller. */
  port: number;
  /** Key of `X-Session-API-Key`. */
  sessionApiKey: string;
  /** Key that encrypts the agent-server's secrets at rest; kept over restarts of the same sandbox. */
  secretKey: string;
  /** Where the agent-server posts its webhooks, without trailing slash. */
  webhookBaseUrl: string;
  /** Further variables for the agent-server (`LLM_*`, `OH_AGENT_SERVER_ENV`, …). */
  environment: Record<string, string>;
  /** Nobody waits for it yet: its boot may take longer for the sake of what comes afterwards. */
  isAhead?: boolean;
}

/** Identity of a launched thing, enough to find it again after any restart of ours. Plain JSON, kept in SQL. */
export interface SandboxHandle {
  backend: 'process' | 'docker' | 'remote';
  /** Process: operating system pid. */
  pid?: number;
  /** Process: start time in clock ticks since boot (field 22 of /proc/<pid>/stat). */
  startTime?: string;
  /** Process: boot id of the machine, so that a pid of another boot is never mistaken. */
  bootId?: string;
  /** Docker: container name. */
  container?: string;
  port: number;
  /** Base URL for this server's calls, without trailing slash. */
  url: string;
  /** Absolute directory for projects inside the sandbox. */
  workingDirectory: string;
}

/** A name for exactly this launch: a later one for the same sandbox has another. */
export const thingOf = ({ pid, startTime, bootId, container }: SandboxHandle): string =>
  container ?? [bootId, pid, startTime].join('/');

/** How a launched thing is right now. `exited` carries its exit code where it can be known. */
export type SandboxCondition =
  { state: 'running' } | { state: 'paused' } | { state: 'gone'; exitCode: number | null };

/** How the line begins that stands in a sandbox's log wherever its agent-server was started. */
export const LAUNCH_LINE = '--- agent-server started by callboard';

/** A refusal that trying again cannot mend; `reason` is a sentence for people. */
export class SandboxRefusal extends Error {
  constructor(
    /** PascalCase noun of the condition, used as failure type on the wire. */
    readonly type: string,
    reason: string,
  ) {
    super(reason);
    this.name = 'SandboxRefusal';
  }
}

export interface SandboxBackend {
  readonly kind: SandboxHandle['backend'];
  /**
   * Starts the agent-server, or returns the handle of the one that an earlier attempt started: never two.
   * Works for a new sandbox and for one whose process died (same directory, data kept).
   * @throws {SandboxRefusal} when it can never work (command missing, directory not writable).
   */
  launch(launch: SandboxLaunch): Promise<SandboxHandle>;
  /** The handle of what lives for this sandbox, or null. */
  find(sandboxId: string): Promise<SandboxHandle | null>;
  /** How it is now; cheap enough to be asked every second for every sandbox of the host. */
  inspect(sandboxId: string, handle: SandboxHandle): Promise<SandboxCondition>;
  /** Freezes it; done already is fine. */
  pause(sandboxId: string, handle: SandboxHandle): Promise<void>;
  /** Thaws it; done already is fine. */
  resume(sandboxId: string, handle: SandboxHandle): Promise<void>;
  /** Ends its processes and keeps its directory: a later launch goes on there. Gone already is fine. */
  halt(sandboxId: string, handle: SandboxHandle): Promise<void>;
  /** Ends it and removes everything of it from this host; gone already is fine. */
  destroy(sandboxId: string, handle: SandboxHandle | null): Promise<void>;
  /** The last lines of its log, newest last; empty when there is none. */
  logTail(sandboxId: string, lines: number): Promise<string[]>;
  /** Bytes in its log: a growing number is progress during a slow boot. */
  logSize(sandboxId: string): Promise<number>;
  /** Processor time it has used so far, in milliseconds, where that is cheap to know: progress as well. */
  processorTime?(sandboxId: string, handle: SandboxHandle): Promise<number>;
  /** Told when the agent-server of a launch answers: what would have taken processor time from its boot may be done now. */
  hasAnswered?(sandboxId: string): void;
  /** What a sandbox that is launched now is expected to take of the host's memory, in bytes, with a conversation in it. */
  expectedMemory(): number;
  /** Ids of all sandboxes of which this host holds anything (directory, process, container). */
  list(): Promise<string[]>;
}
