import type { Command, CommandOption } from './command.js';
import { COMMANDS } from './commands.js';

/** Options every command takes. */
export const COMMON_OPTIONS: Readonly<Record<string, CommandOption>> = {
  config: { type: 'string', help: 'the file to read instead of config.toml in the data directory' },
  help: { type: 'boolean', short: 'h', help: 'this text; after a command, that of the command' },
};

/** The text of `callboard --help`. */
export function overview(): string {
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary] as const);
  return [
    'Usage: callboard <command> [options]\n',
    'The durable server behind OpenHands conversations.\n',
    'Commands:',
    ...columns(commands),
    '\nOptions:',
    ...columns([...optionRows(COMMON_OPTIONS), ['--version', 'the version of Callboard']]),
    '\nEnvironment variables and config.toml are described in docs/configuration.md.',
  ].join('\n');
}

/** The text of `callboard <name> --help`. */
export function commandHelp(name: string, command: Command): string {
  return [
    `Usage: callboard ${[name, command.usage].filter(Boolean).join(' ')}\n`,
    `${command.summary[0]?.toUpperCase() ?? ''}${command.summary.slice(1)}.`,
    '\nOptions:',
    ...columns(optionRows({ ...command.options, ...COMMON_OPTIONS })),
  ].join('\n');
}

function optionRows(options: Readonly<Record<string, CommandOption>>): [string, string][] {
  return Object.entries(options).map(([name, { type, short, help }]) => [
    `--${name}${type === 'string' ? ` ${name.toUpperCase()}` : ''}${short ? `, -${short}` : ''}`,
    help,
  ]);
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
