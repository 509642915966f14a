/** What clients were told, so that it can be held against what is there in the end. */

/** A start that was accepted: a client was given the task. */
export interface AcceptedStart {
  taskId: string;
  life: number;
}

/** A message that was acknowledged. */
export interface AcknowledgedMessage {
  life: number;
  /** Unique in the run. */
  text: string;
  /** Whose queue it went through, if it did: `task-<id>` or the conversation's id. */
  via: 'send-message' | 'pending';
  taskId: string;
}

/** How requests of one kind were answered. */
export interface Tally {
  sent: number;
  done: number;
  /** 4xx. */
  refused: number;
  /** 503 while a part was away, 502 of an agent-server. */
  unavailable: number;
  /** No answer: the connection broke, or the API was frozen. */
  unanswered: number;
}

export class Books {
  readonly starts = new Map<string, AcceptedStart>();
  /** Tasks that requests with one key led to. */
  readonly tasksByKey = new Map<string, Set<string>>();
  readonly messages: AcknowledgedMessage[] = [];
  /** By task. */
  readonly conversations = new Map<string, string>();
  /** Whose deletion was asked for, answered or not; 32 hex digits. */
  readonly deletedConversations = new Set<string>();
  readonly deletedSandboxes = new Set<string>();
  /** Whose deletion was answered. */
  readonly goneConversations = new Set<string>();
  readonly goneSandboxes = new Set<string>();
  /** Tasks whose start was called off. */
  readonly cancelled = new Set<string>();
  /** Sandboxes that clients started by themselves. */
  readonly ownSandboxes = new Set<string>();
  readonly keptSandboxes = new Set<string>();
  /** Answers that no client should ever get, and requests that hung. */
  readonly wrongAnswers: string[] = [];
  readonly hangs: string[] = [];
  readonly tallies = new Map<string, Tally>();

  accept(taskId: string, life: number, key: string | null): void {
    this.starts.set(taskId, { taskId, life });
    if (key === null) return;
    const tasks = this.tasksByKey.get(key) ?? new Set();
    this.tasksByKey.set(key, tasks.add(taskId));
  }

  count(kind: string, outcome: keyof Omit<Tally, 'sent'>): void {
    const tally = this.tallies.get(kind) ?? { sent: 0, done: 0, refused: 0, unavailable: 0, unanswered: 0 };
    tally.sent++;
    tally[outcome]++;
    this.tallies.set(kind, tally);
  }
}
