import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

/** For operators (`temporal workflow list --query …`); never read by the API. They are not encrypted. */
export const CALLBOARD_USER_ID = defineSearchAttributeKey('CallboardUserId', SearchAttributeType.KEYWORD);
export const CALLBOARD_SANDBOX_STATUS = defineSearchAttributeKey(
  'CallboardSandboxStatus',
  SearchAttributeType.KEYWORD,
);
export const CALLBOARD_START_STATUS = defineSearchAttributeKey(
  'CallboardStartStatus',
  SearchAttributeType.KEYWORD,
);
