import { z } from 'zod';
import { hexId, isUuid } from './ids.js';
import { parseWireDate } from './dates.js';

/** A UUID in any spelling, read as 32 lower-case hex digits. */
export const HexUuid = z
  .string()
  .refine(isUuid, { error: 'Input should be a valid UUID', params: { type: 'uuid_parsing' } })
  .meta({ format: 'uuid' })
  .transform(hexId);

/** Refuses a value in the words of FastAPI, by which clients tell errors apart (contract 1.5); to be returned by a transformation. */
export function unreadable(context: z.RefinementCtx, input: unknown, message: string, type: string): never {
  context.issues.push({ code: 'custom', message, input, params: { type } });
  return z.NEVER;
}

/** Refuses what is no date-time. */
export const noDateTime = (context: z.RefinementCtx, input: unknown): never =>
  unreadable(
    context,
    input,
    'Input should be a valid datetime or date, invalid character in year',
    'datetime_from_date_parsing',
  );

/** A date-time of a query string or body, read as `Date` (contract 1.3). */
export const WireDateTime = z
  .union([z.string().meta({ format: 'date-time' }), z.number()])
  .transform((value, context) => parseWireDate(String(value)) ?? noDateTime(context, value));

/** Booleans as FastAPI reads them from a query string. */
export const QueryBoolean = z.union([z.boolean(), z.string()]).transform((value, context) => {
  if (typeof value === 'boolean') return value;
  const text = value.trim().toLowerCase();
  if (['true', '1', 'yes', 'on', 't', 'y'].includes(text)) return true;
  if (['false', '0', 'no', 'off', 'f', 'n'].includes(text)) return false;
  return unreadable(
    context,
    value,
    'Input should be a valid boolean, unable to interpret input',
    'bool_parsing',
  );
});

/** `limit` of every V1 list: 1 to 100, 100 unless told (contract 1.4). */
export const PageLimit = z.coerce.number<string>().int().gt(0).lte(100).default(100);

/** One page of a V1 list (contract 1.4). */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), next_page_id: z.string().nullable() });

export interface Page<Item> {
  items: Item[];
  /** Opaque cursor of the next page; null on the last one. */
  next_page_id: string | null;
}

export const Success = z.object({ success: z.literal(true) });
export const SUCCESS = { success: true } as const;

/** Git providers of release 1.11 (contract 3.1). */
export const GIT_PROVIDERS = [
  'github',
  'gitlab',
  'bitbucket',
  'bitbucket_data_center',
  'forgejo',
  'azure_devops',
  'enterprise_sso',
] as const;
export const GitProvider = z.enum(GIT_PROVIDERS);
export type GitProvider = z.infer<typeof GitProvider>;

export const CONVERSATION_TRIGGERS = [
  'resolver',
  'gui',
  'suggested_task',
  'openhands_api',
  'slack',
  'microagent_management',
  'jira',
  'jira_dc',
  'linear',
  'bitbucket',
  'automation',
] as const;
export const ConversationTrigger = z.enum(CONVERSATION_TRIGGERS);
export type ConversationTrigger = z.infer<typeof ConversationTrigger>;
