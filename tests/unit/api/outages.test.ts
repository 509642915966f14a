import { ServiceError } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import { isTemporalOutage } from '../../../api/outages.js';

/** What the client throws when Temporal answers a call with a gRPC status. */
const answered = (code: number, details: string): ServiceError =>
  new ServiceError('the call failed', {
    cause: Object.assign(new Error(details), { code, details, metadata: {} }),
  });

describe('Temporal is away for a caller', () => {
  it.each([
    [14, 'no connection', true],
    [4, 'deadline exceeded', true],
    [8, 'too many requests', true],
    [9, 'Unable to perform workflow execution update due to Workflow Task in failed state.', true],
    [9, 'the namespace is not active here', false],
    [7, 'not permitted', false],
    [3, 'bad request', false],
  ])('status %i, %j: %j', (code, details, isAway) => {
    expect(isTemporalOutage(answered(code, details))).toBe(isAway);
  });
});
