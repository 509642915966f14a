/** What agent-servers post (contract 6.2). Read leniently: unknown members, agent kinds and workspace kinds are fine. */
import { z } from 'zod';
import { HexUuid } from './primitives.js';

/** A member that is used if it has the expected form, and is as good as absent otherwise. */
const optional = <Schema extends z.ZodType>(schema: Schema) => schema.nullish().catch(null);

/** The conversation record of an agent-server. */
export const WebhookConversation = z.looseObject({
  id: HexUuid,
  agent: z.looseObject({
    kind: optional(z.string()),
    agent_kind: optional(z.string()),
    llm: optional(z.looseObject({ model: optional(z.string()) })),
    acp_model: optional(z.string()),
    acp_command: optional(z.union([z.string(), z.array(z.string())])),
  }),
  workspace: z.looseObject({ working_dir: optional(z.string()) }),
  execution_status: optional(z.string()),
  stats: optional(z.looseObject({ usage_to_metrics: z.unknown() })),
  tags: optional(z.record(z.string(), z.unknown())),
  current_model_id: optional(z.string()),
  created_at: optional(z.string()),
  updated_at: optional(z.string()),
});
export type WebhookConversation = z.infer<typeof WebhookConversation>;
