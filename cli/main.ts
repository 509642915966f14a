import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sourceStack } from '../api/source-stack.js';
import type { CommandInput, CommandOption } from './command.js';
import { COMMANDS } from './commands.js';
import { COMMON_OPTIONS, commandHelp, overview } from './help.js';
import { projectRoot } from './project-root.js';
import { hasCode, UserError } from './user-error.js';

/** Runs the command in `args` (without program and script) and returns the exit status. */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(`${overview()}\n`);
    return name === undefined ? 1 : 0;
  }
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as {
      version: string;
    };
    process.stdout.write(`callboard ${version}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) throw new UserError(`There is no command ${name}: ./callboard --help lists those there are.`);

  const { values, positionals } = command.raw
    ? { values: { help: rest[0] === '--help', config: undefined }, positionals: rest }
    : parse(name, rest, { ...command.options, ...COMMON_OPTIONS }, command.positionals ?? false);
  if (values['help']) {
    process.stdout.write(`${commandHelp(name, command)}\n`);
    return 0;
  }
  const status = await command.run({
    values,
    positionals,
    env,
    config: async () => {
      const { loadConfig } = await import('../config/config.js');
      return loadConfig({
        env,
        configPath: typeof values['config'] === 'string' ? values['config'] : undefined,
      });
    },
  });
  return status ?? 0;
}

/** The arguments after a command's name. */
function parse(
  name: string,
  args: string[],
  options: Record<string, CommandOption>,
  allowPositionals: boolean,
): Pick<CommandInput, 'values' | 'positionals'> {
  try {
    return parseArgs({ args, options, allowPositionals, strict: true });
  } catch (err) {
    if (!(err instanceof TypeError)) throw err;
    throw new UserError(
      `${err.message.split('. ')[0] ?? err.message}: ./callboard ${name} --help lists what it takes.`,
    );
  }
}

/** Errors of the rooms below that are written for people. */
const FOR_PEOPLE = new Set([
  'ConfigError',
  'KeyRingError',
  'AuthModuleError',
  'SchemaTooNew',
  'DatabaseUnusable',
]);

/** Errors for people are one message; anything else is a defect and keeps its stack. */
function report(err: unknown): void {
  const forPeople = err instanceof UserError || (err instanceof Error && FOR_PEOPLE.has(err.name));
  const text = forPeople
    ? `callboard: ${err.message}`
    : err instanceof Error
      ? sourceStack(err.stack ?? err.message)
      : String(err);
  process.stderr.write(`${text}\n`);
}

if (process.argv[1] === import.meta.filename) {
  // Whoever reads may have had enough, as `head` has; what is under way comes to its end untold.
  process.stdout.on('error', (err) => {
    if (!hasCode(err, 'EPIPE')) throw err;
  });
  let status = 1;
  try {
    status = await main(process.argv.slice(2), process.env);
  } catch (err) {
    report(err);
  }
  process.exit(status); // what a command leaves open must not keep it from ending
}
