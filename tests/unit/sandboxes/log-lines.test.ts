import { expect, it } from 'vitest';
import { readableLines } from '../../../sandboxes/log-lines.js';

it('a message of the log is shown as time, level and text, a trace line by line', () => {
  const message = {
    asctime: '2026-11-22 02:40:53,966',
    levelname: 'ERROR',
    name: 'openhands.agent_server.api',
    filename: 'api.py',
    message: 'boot failed',
    exc_info: 'Traceback:\n  File "x.py"\nImportError: no module',
  };
  expect(readableLines(JSON.stringify(message))).toEqual([
    '2026-11-22 02:40:53,966 ERROR boot failed',
    'Traceback:',
    '  File "x.py"',
    'ImportError: no module',
  ]);
});

it('every other line is shown as it is', () => {
  for (const line of ['plain text', '{"levelname": "INFO", "mess', '{}', '{"message":5}', '[1]']) {
    expect(readableLines(line)).toEqual([line]);
  }
});
