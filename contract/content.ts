import { z } from 'zod';

/** Content blocks of a message (contract 3.3); further members are dropped as the agent-server would. */
export const TextBlock = z.object({
  type: z.literal('text'),
  text: z.string(),
  cache_prompt: z.boolean().default(false),
});
export const ImageBlock = z.object({
  type: z.literal('image'),
  image_urls: z.array(z.string()),
  cache_prompt: z.boolean().default(false),
});

/** The form in which the 2025-11 web client sends images; rewritten to an image block. */
const ImageUrlBlock = z
  .object({ type: z.literal('image_url'), image_url: z.object({ url: z.string() }) })
  // The block that it becomes is described as one, too.
  .transform(({ image_url }): z.input<typeof ImageBlock> => ({
    type: 'image',
    image_urls: [image_url.url],
    cache_prompt: false,
  }))
  .pipe(ImageBlock);

export const ContentBlock = z.discriminatedUnion('type', [TextBlock, ImageBlock, ImageUrlBlock]);
export type ContentBlock = z.infer<typeof ContentBlock>;

/** The message a conversation begins with (contract 3.3). */
export const InitialMessage = z.object({
  role: z.enum(['user', 'system', 'assistant', 'tool']).default('user'),
  content: z.array(ContentBlock).default([]),
  run: z.boolean().default(false),
});
export type InitialMessage = z.infer<typeof InitialMessage>;

/** Body of `send-message` (contract 3.9). */
export const SendMessageRequest = z.object({
  role: z.literal('user').default('user'),
  content: z.array(ContentBlock).min(1),
  run: z.boolean().default(true),
});
export type SendMessageRequest = z.infer<typeof SendMessageRequest>;

/** All text of a message, blocks joined by line feeds. */
export const textOf = (content: readonly ContentBlock[]): string =>
  content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
