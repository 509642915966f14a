/** The net under the masking that activities do themselves: no failure leaves a worker with a known secret in it. */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import type { SecretMasker } from '../contract/secret-masker.js';

/** Masks texts and stacks of what activities throw: they become details that people see. */
export const failureMasking =
  (masker: Pick<SecretMasker, 'mask'>): ActivityInterceptorsFactory =>
  () => ({
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (err) {
          maskError(err, masker);
          throw err;
        }
      },
    },
  });

/** What an error says, as far as it may be told: the message of a failed query repeats the values it was given. */
export const tellable = (error: Error): string =>
  error instanceof DrizzleQueryError ? `a query failed: ${error.query}` : error.message;

/** Changes the error itself, so that its class, which Temporal looks at, stays. */
export function maskError(err: unknown, masker: Pick<SecretMasker, 'mask'>): void {
  for (let error = err; error instanceof Error; error = error.cause) {
    const text = tellable(error);
    const message = masker.mask(text);
    if (error.stack) error.stack = masker.mask(error.stack.replace(error.message, () => text));
    if (message !== error.message) error.message = message;
  }
}
