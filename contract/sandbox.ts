import { z } from 'zod';
import { SANDBOX_STATUSES } from './sandbox-states.js';

export { SANDBOX_ORDERS, SANDBOX_STATUSES, type SandboxOrder } from './sandbox-states.js';

/** See {@link SANDBOX_STATUSES}. */
export const SandboxStatus = z.enum(SANDBOX_STATUSES);
export type SandboxStatus = z.infer<typeof SandboxStatus>;

/** What happens when a user's sandboxes are as many as may run, and one more is wanted. */
export const SANDBOX_LIMIT_POLICIES = ['pause-oldest-idle', 'refuse'] as const;
export type SandboxLimitPolicy = (typeof SANDBOX_LIMIT_POLICIES)[number];

/** Names of the addresses a sandbox exposes. */
export const EXPOSED_URL_NAMES = ['AGENT_SERVER', 'VSCODE', 'WORKER_1', 'WORKER_2'] as const;

export const ExposedUrl = z.object({
  name: z.string(),
  url: z.string(),
  port: z.int(),
});
export type ExposedUrl = z.infer<typeof ExposedUrl>;

/** A sandbox as `/api/v1/sandboxes` shows it; key and URLs only while RUNNING (contract 5.1). */
export const SandboxInfo = z.object({
  id: z.string(),
  created_by_user_id: z.string().nullable(),
  sandbox_spec_id: z.string(),
  status: SandboxStatus,
  session_api_key: z.string().nullable(),
  exposed_urls: z.array(ExposedUrl).nullable(),
  created_at: z.string(),
});
export type SandboxInfo = z.infer<typeof SandboxInfo>;

/** What a sandbox is made from (contract 5.8). */
export const SandboxSpecInfo = z.object({
  id: z.string(),
  command: z.array(z.string()).nullable(),
  created_at: z.string(),
  initial_env: z.record(z.string(), z.string()),
  working_dir: z.string(),
});
export type SandboxSpecInfo = z.infer<typeof SandboxSpecInfo>;
