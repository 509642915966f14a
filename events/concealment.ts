import { AgentEvent } from '../contract/event.js';
import type { IncomingEvent } from './incoming-event.js';

/** Takes secrets out of a JSON text; one without any comes back as it is. */
export type Conceal = (json: string) => string;

/** The same events without secrets in them: in what is stored, and in what is learnt from them. */
export const concealed = (incoming: readonly IncomingEvent[], conceal: Conceal): IncomingEvent[] =>
  incoming.map((one) => {
    const json = conceal(one.json);
    return json === one.json ? one : { event: AgentEvent.parse(JSON.parse(json)), json };
  });
