/** One line of text for an event, or null for those a person at a terminal does not want to read. */
export function eventLine(event: Record<string, unknown>): string | null {
  switch (event['kind']) {
    case 'MessageEvent': {
      const message = record(event['llm_message']);
      const text = textOf(message['content']);
      return text ? `${event['source'] === 'agent' ? 'agent' : 'you'}: ${text}` : null;
    }
    case 'ActionEvent': {
      const action = record(event['action']);
      const thought = textOf(event['thought']);
      const name = say(event['tool_name']) || 'tool';
      const what = say(action['command'] ?? action['message'] ?? action['thought'] ?? action['path']);
      const line = name === 'finish' ? `agent: ${what}` : `${name}: ${oneLine(what)}`;
      return thought ? `agent: ${thought}\n${line}` : line;
    }
    case 'ObservationEvent': {
      const observation = record(event['observation']);
      if (event['tool_name'] === 'finish') return null;
      const text = textOf(observation['content']);
      return text ? indent(text) : null;
    }
    case 'AgentErrorEvent':
      return `error: ${say(event['error'])}`;
    case 'ConversationErrorEvent':
      return `error: ${say(event['code'])} ${say(event['detail'])}`;
    default:
      return null;
  }
}

/** The status a state update brings, or null: `execution_status` alone or inside a snapshot. */
export function executionStatusOf(event: Record<string, unknown>): string | null {
  if (event['kind'] !== 'ConversationStateUpdateEvent') return null;
  const { key, value } = event;
  if (key === 'execution_status') return typeof value === 'string' ? value : null;
  if (key !== 'full_state') return null;
  const status = record(value)['execution_status'];
  return typeof status === 'string' ? status : null;
}

const OUTPUT_LINES = 12;

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

function textOf(content: unknown): string {
  if (typeof content === 'string') return content.trim();
  if (!Array.isArray(content)) return '';
  return content
    .map((block) => record(block)['text'])
    .filter((text) => typeof text === 'string')
    .join('\n')
    .trim();
}

/** A value of unknown shape as text. */
function say(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').slice(0, 200);

function indent(text: string): string {
  const lines = text.split('\n');
  const shown = lines.slice(0, OUTPUT_LINES).map((line) => `  ${line}`);
  if (lines.length > OUTPUT_LINES) shown.push(`  … ${lines.length - OUTPUT_LINES} more lines`);
  return shown.join('\n');
}
