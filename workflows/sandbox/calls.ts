import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { SandboxHostActivities } from '../../activities/sandbox-host-activities.js';
import type { SandboxRecoveryActivities } from '../../activities/sandbox-recovery-activities.js';
import type { SandboxRowActivities } from '../../activities/sandbox-row-activities.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE } from '../../contract/ids.js';

export const { recordSandboxStatus, recordSandboxDeleted, findSandboxHost, judgeIdleness } =
  proxyLocalActivities<SandboxRowActivities>({
    startToCloseTimeout: '5s',
    localRetryThreshold: '1m',
  });

/** Best effort: the end of each run and the next resume ask again. */
export const { catchUpSandbox } = proxyActivities<SandboxRecoveryActivities>({
  startToCloseTimeout: '5m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '1s', maximumInterval: '10s', maximumAttempts: 5 },
});

/** With no wait for its end, what was given up could still act after the sandbox was destroyed. */
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

/** The activities of the machine that owns the sandbox; before it is placed, of whichever machine takes it. */
export const onHost = (hostId: string | undefined) => {
  const taskQueue = hostId === undefined ? PLACEMENT_TASK_QUEUE : hostTaskQueue(hostId);
  const { boot } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '40m',
    scheduleToStartTimeout: '3m', // no machine takes it: say so instead of waiting
    scheduleToCloseTimeout: '45m',
    heartbeatTimeout: '10s',
    cancellationType,
    retry: { initialInterval: '200ms', maximumInterval: '5s', maximumAttempts: 5 },
  });
  const { suspend, awaken } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '1m',
    scheduleToStartTimeout: '2m',
    heartbeatTimeout: '15s',
    cancellationType,
    retry: { initialInterval: '200ms', maximumInterval: '5s', maximumAttempts: 5 },
  });
  const { destroy } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '1m',
    retry: { initialInterval: '500ms', maximumInterval: '30s' },
  });
  return { boot, suspend, awaken, destroy };
};
