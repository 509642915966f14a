/** Whether an error says that a service we depend on is away, as opposed to having refused. */
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';

export { isDatabaseOutage } from '../db/outages.js';

/** Seconds after which a client should try again. */
export const RETRY_AFTER_SECONDS = 5;

/** gRPC codes of a service that is away or overloaded: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE. */
const OUTAGE_CODES = new Set([1, 4, 8, 14]);

const FAILED_PRECONDITION = 9;

/**
 * Temporal did not answer in time, or cannot pass an update on: a workflow whose last task has failed takes none until
 * it has been tried again. Signals wait in its history meanwhile.
 */
export function isTemporalOutage(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  const grpc = error instanceof ServiceError ? error.cause : error;
  if (!isGrpcServiceError(grpc)) return false;
  const code: number = grpc.code;
  return (
    OUTAGE_CODES.has(code) ||
    (code === FAILED_PRECONDITION && grpc.details.includes('Workflow Task in failed state'))
  );
}

/** PostgreSQL's refusal of a text that it cannot store: one with NUL characters. */
export function isUnstorableText(error: unknown): boolean {
  let current = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth++) {
    if ('code' in current && (current.code === '22P05' || current.code === '22021')) return true;
    current = current.cause;
  }
  return false;
}

/** The disk is full, at its quota, read-only or defective, or no more files can be open. */
const DISK_CODES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE']);

/** Something could not be stored because of the disk, and can be once somebody has looked after it. */
export const isDiskOutage = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && 'syscall' in error && DISK_CODES.has(String(error.code));
