/** The agent-server's log for people: it writes one JSON object per message, with a trace of many lines in one field. */

/** The lines that a line of the log stands for; a line of another form stands for itself. */
export function readableLines(line: string): string[] {
  const message = parseMessage(line);
  if (!message) return [line.trimEnd()];
  const { asctime, levelname, text, trace } = message;
  return [[asctime, levelname, text].filter((part) => part !== '').join(' '), ...trace.split('\n')].filter(
    (part) => part.trim() !== '',
  );
}

function parseMessage(line: string) {
  if (!line.startsWith('{')) return null;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null; // cut off, or written by something else
  }
  const { asctime, levelname, message, exc_info } = value as Record<string, unknown>;
  if (typeof message !== 'string') return null;
  return { asctime: textOf(asctime), levelname: textOf(levelname), text: message, trace: textOf(exc_info) };
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
