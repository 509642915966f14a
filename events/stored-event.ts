/** Whether what a file holds is the event that it is kept for. */
import { AgentEvent } from '../contract/event.js';

/** The event in a file's text; null when it is empty, cut off, or no event. */
export function storedEvent(json: string): AgentEvent | null {
  if (json === '') return null;
  try {
    return AgentEvent.safeParse(JSON.parse(json)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null; // torn, or not written by us
    throw error;
  }
}
