import type { StartTask } from '../../contract/start-task.js';

/**
 * Start tasks as the stream brings them (contract 3.5): one JSON array in pieces, a comma before each further task and
 * a line feed after it, so every task stands on a line of its own.
 */
export async function* startTasksOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<StartTask> {
  const decoder = new TextDecoder();
  let rest = '';
  const parse = (line: string): StartTask | null => {
    const text = line
      .trim()
      .replace(/^\[/, '')
      .replace(/[,\]]$/, '');
    return text === '' ? null : (JSON.parse(text) as StartTask);
  };
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    // A task is whole when its JSON is: the comma that follows it comes with the next one.
    for (;;) {
      const end = rest.indexOf('\n');
      const line = end < 0 ? rest : rest.slice(0, end);
      const task = complete(line, parse);
      if (task) yield task;
      if (end < 0) {
        if (task) rest = '';
        break;
      }
      rest = rest.slice(end + 1);
    }
  }
}

/** The task on a line, or null while the line is not whole yet. */
function complete(line: string, parse: (line: string) => StartTask | null): StartTask | null {
  try {
    return parse(line);
  } catch (err) {
    if (err instanceof SyntaxError) return null;
    throw err;
  }
}
