import { ApplicationFailure } from '@temporalio/common';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import { describe, expect, it } from 'vitest';
import { maskError } from '../../../activities/failure-masking.js';
import { SecretMasker } from '../../../contract/secret-masker.js';

describe('the failure of an activity', () => {
  const masker = new SecretMasker(['hunter2-known']);

  it('holds no known secret, in text, stack and causes, and stays what it is', () => {
    const cause = new Error('because of hunter2-known');
    const message = 'refused hunter2-known';
    const error = ApplicationFailure.create({ message, type: 'Refused', nonRetryable: true, cause });
    maskError(error, masker);
    expect(error).toMatchObject({ message: 'refused **********', type: 'Refused', nonRetryable: true });
    expect(`${error.stack} ${String(error.cause)} ${error.cause?.stack}`).not.toContain('hunter2');
  });

  it('of the database does not repeat the values of the query', () => {
    const error = new DrizzleQueryError('select $1', ['unknown-value'], new Error('gone'));
    maskError(error, masker);
    expect(`${error.message} ${error.stack}`).not.toContain('unknown-value');
    expect(error.message).toContain('select $1');
  });
});
