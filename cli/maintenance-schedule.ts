import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type Client,
} from '@temporalio/client';
import { TASK_QUEUE } from '../contract/ids.js';
import { MAINTENANCE_WORKFLOW } from '../workflows/messages.js';

/** Id of the schedule, for `temporal schedule describe --schedule-id maintenance`. */
export const MAINTENANCE_SCHEDULE = 'maintenance';

export interface MaintenanceScheduleSettings {
  /** Minutes between two rounds; 0 removes the schedule. */
  intervalMinutes: number;
  taskQueue?: string;
}

/**
 * Makes sure that maintenance runs as often as it is set to; every worker does so when it starts. A round that is late
 * by more than a minute is left out, and there is never a second one beside the first.
 */
export async function ensureMaintenanceSchedule(
  client: Pick<Client, 'schedule'>,
  { intervalMinutes, taskQueue = TASK_QUEUE }: MaintenanceScheduleSettings,
): Promise<void> {
  const handle = client.schedule.getHandle(MAINTENANCE_SCHEDULE);
  if (intervalMinutes === 0) {
    await handle.delete().catch((err: unknown) => {
      if (!(err instanceof ScheduleNotFoundError)) throw err;
    });
    return;
  }
  const wanted = {
    spec: { intervals: [{ every: intervalMinutes * 60_000 }] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1m' as const },
    action: {
      type: 'startWorkflow' as const,
      workflowType: MAINTENANCE_WORKFLOW,
      workflowId: MAINTENANCE_SCHEDULE,
      taskQueue,
      args: [],
      workflowExecutionTimeout: '1h' as const,
    },
  };
  try {
    await client.schedule.create({ scheduleId: MAINTENANCE_SCHEDULE, ...wanted });
  } catch (err) {
    if (!(err instanceof ScheduleAlreadyRunning)) throw err;
    // Somebody may have paused it: that stays.
    await handle.update(({ state }) => ({ ...wanted, state }));
  }
}
