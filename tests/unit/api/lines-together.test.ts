import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import { LinesTogether } from '../../../api/lines-together.js';

const LOG = new URL('../../../api/log.ts', import.meta.url).href;

function logged() {
  const pieces: string[] = [];
  const output = new LinesTogether({ write: (text: string) => void pieces.push(text) });
  const messages = () => pieces.map((piece) => [...piece.matchAll(/"msg":"(\w+)"/g)].map(([, name]) => name));
  return { logger: pino({}, output), messages };
}

it('lines of one turn are handed on in one piece, in their order', async () => {
  const { logger, messages } = logged();
  logger.info('first');
  logger.info('second');
  expect(messages()).toEqual([]);
  await vi.waitFor(() => expect(messages()).toEqual([['first', 'second']]), { timeout: 30_000 });
  logger.info('third');
  await vi.waitFor(() => expect(messages()).toEqual([['first', 'second'], ['third']]), { timeout: 30_000 });
});

it.each(['warn', 'error', 'fatal'] as const)(
  'a line of level %s waits for nothing, and takes with it what waits',
  (level) => {
    const { logger, messages } = logged();
    logger.info('before');
    logger[level]('wrong');
    expect(messages()).toEqual([['before', 'wrong']]);
  },
);

it.each([
  ['ends itself', 'process.exit(0)'],
  ['fails', 'throw new Error("unforeseen")'],
])('no line is lost of a process that %s in the same turn', async (_how, end) => {
  const program = `const { createLogger } = await import('${LOG}');
    createLogger({ level: 'info', json: true }).info('last words');
    ${end};`;
  const run = promisify(execFile)(process.execPath, [
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    program,
  ]);
  const { stdout } = (await run.catch((error: unknown) => error)) as { stdout: string };
  expect(stdout).toContain('last words');
});
