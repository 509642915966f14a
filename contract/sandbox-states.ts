/** States and orders of sandboxes as plain values: workflows are loaded anew for each run, and schemas cost them more than all else. */

/** States of a sandbox as clients see them (contract 5.1). */
export const SANDBOX_STATUSES = ['STARTING', 'RUNNING', 'PAUSED', 'ERROR', 'MISSING'] as const;
export type SandboxStatus = (typeof SANDBOX_STATUSES)[number];

/** What people, programs and the API may ask of a sandbox. */
export const SANDBOX_ORDERS = ['pause', 'resume', 'delete'] as const;
export type SandboxOrder = (typeof SANDBOX_ORDERS)[number];
