/** A title without a model: the beginning of what the user wrote. */
import type { AgentEvent } from '../../contract/event.js';

const LONGEST = 50;

/** The text of a user's message; null for every other event, and for messages without text. */
export function userText(event: AgentEvent): string | null {
  if (event.kind !== 'MessageEvent' || event['source'] !== 'user') return null;
  const message = event['llm_message'];
  const content =
    typeof message === 'object' && message !== null ? (message as { content?: unknown }).content : null;
  if (!Array.isArray(content)) return null;
  const texts = content.flatMap((part: unknown) => {
    const text = typeof part === 'object' && part !== null ? (part as { text?: unknown }).text : null;
    return typeof text === 'string' ? [text] : [];
  });
  return texts.length === 0 ? null : texts.join('\n');
}

/** The first line that says something, at most 50 characters long, cut between words; null if no line does. */
export function fallbackTitle(text: string): string | null {
  const line = text
    .split(/[\r\n]+/)
    .map(printable)
    .find((candidate) => candidate !== '');
  if (line === undefined) return null;
  const characters = Array.from(line);
  if (characters.length <= LONGEST) return line;
  const start = characters.slice(0, LONGEST).join('');
  const lastSpace = start.lastIndexOf(' ');
  // A space just behind the cut means that the last word is whole; one long word has to be cut.
  if (characters[LONGEST] === ' ' || lastSpace <= 0) return start.trimEnd();
  return start.slice(0, lastSpace).trimEnd();
}

/** Titles of models, in a form that both the database and the agent-server take: one line of 1 to 200 characters. */
export function cleanTitle(title: string | null | undefined): string | null {
  const line = printable(title ?? '');
  return line === '' ? null : Array.from(line).slice(0, 200).join('').trimEnd();
}

/** Without control characters and halves of surrogate pairs, runs of white space as one space. */
const printable = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Surrogate}]/gu, ' ')
    .replaceAll(/\s+/gu, ' ')
    .trim();
