import * as sdk from '@temporalio/workflow';
import { expect, it } from 'vitest';
import { defineQuery, defineSignal, defineUpdate } from '../../../workflows/message-definitions.js';

it('messages are defined as the SDK would define them', () => {
  expect(defineSignal('pause')).toEqual(sdk.defineSignal('pause'));
  expect(defineUpdate('pause')).toEqual(sdk.defineUpdate('pause'));
  expect(defineQuery('pause')).toEqual(sdk.defineQuery('pause'));
});
