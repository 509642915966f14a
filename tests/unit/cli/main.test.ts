import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { COMMANDS } from '../../../cli/commands.js';
import { main } from '../../../cli/main.js';
import { UserError } from '../../../cli/user-error.js';

let printed: string;
beforeEach(() => {
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

describe('callboard', () => {
  it('lists every command in its help', async () => {
    expect(await main(['--help'], {})).toBe(0);
    for (const [name, { summary }] of Object.entries(COMMANDS)) {
      expect(printed).toMatch(new RegExp(`^  ${name} +${summary.replace(/[()]/g, '\\$&')}$`, 'm'));
    }
  });

  it('has the commands it promises', () => {
    expect(Object.keys(COMMANDS)).toEqual(
      expect.arrayContaining(['up', 'test', 'setup', 'api', 'worker', 'migrate', 'start', 'sandboxes']),
    );
  });

  it('prints its help with status 1 when no command is given', async () => {
    expect(await main([], {})).toBe(1);
    expect(printed).toContain('Usage: callboard <command>');
  });

  it('explains a command and its options', async () => {
    expect(await main(['start', '--help'], {})).toBe(0);
    expect(printed).toMatch(/^Usage: callboard start --message/);
    expect(printed).toMatch(/^ {2}--message MESSAGE, -m +\S/m);
    expect(printed).toMatch(/^ {2}--config CONFIG +\S/m);
  });

  it('prints its version', async () => {
    expect(await main(['--version'], {})).toBe(0);
    expect(printed).toMatch(/^callboard \d+\.\d+\.\d+\n$/);
  });

  it.each([
    [['perform'], 'There is no command perform: ./callboard --help lists those there are.'],
    [['constructor'], 'There is no command constructor: ./callboard --help lists those there are.'],
    [['up', '--fast'], "Unknown option '--fast': ./callboard up --help lists what it takes."],
    [['up', 'now'], "Unexpected argument 'now': ./callboard up --help lists what it takes."],
  ])('answers %j with one sentence', async (args, sentence) => {
    await expect(main(args, {})).rejects.toThrow(new UserError(sentence));
  });

  it('reads the file given with --config', async () => {
    await expect(main(['setup', '--config', '/nonexistent.toml'], {})).rejects.toThrow(
      'The configuration file /nonexistent.toml cannot be read: it does not exist.',
    );
  });
});
