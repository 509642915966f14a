/**
 * What orders and questions of workflows are named. The same definitions as those of `@temporalio/workflow`, which is made
 * for the inside of workflows: who only sends orders would load thirty files for three functions.
 */
import type { QueryDefinition, SignalDefinition, UpdateDefinition } from '@temporalio/common';

export const defineSignal = <Args extends unknown[] = []>(name: string): SignalDefinition<Args> =>
  ({ type: 'signal', name }) as SignalDefinition<Args>;

export const defineUpdate = <Result, Args extends unknown[] = []>(
  name: string,
): UpdateDefinition<Result, Args> => ({ type: 'update', name }) as UpdateDefinition<Result, Args>;

export const defineQuery = <Result, Args extends unknown[] = []>(
  name: string,
): QueryDefinition<Result, Args> => ({ type: 'query', name }) as QueryDefinition<Result, Args>;
