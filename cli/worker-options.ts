import type { WorkerOptions } from '@temporalio/worker';

/** Options that every worker of a process shares. */
export const EVERY_WORKER = {
  // After kill -9 of a worker its workflows wait this long for its cache; Temporal's own default is 10 s.
  stickyQueueScheduleToStartTimeout: '2s',
  // Heartbeats carry cancellations: a cancelled start is to end within seconds, not within a heartbeat timeout.
  maxHeartbeatThrottleInterval: '2s',
} as const satisfies Partial<WorkerOptions>;

/**
 * How many polls of a worker ask for tasks of workflows. A task queue of Temporal has four partitions, and what waits in
 * one in which nobody asks is handed on to the others at ten tasks a second: with the SDK's two polls for new workflows
 * a burst of starts stood still for two seconds. So there are two for each partition, and more while there is more to do.
 */
export const WORKFLOW_POLLS = {
  workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 8, initial: 8, maximum: 40 },
} as const satisfies Partial<WorkerOptions>;
