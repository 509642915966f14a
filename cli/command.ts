import type { Config } from '../config/config.js';

/** What a command is given when it runs. */
export interface CommandInput {
  /** Options by their long name. */
  values: Record<string, string | boolean | (string | boolean)[] | undefined>;
  positionals: string[];
  env: NodeJS.ProcessEnv;
  /** Reads the configuration; `ConfigError` when it is wrong. */
  config: () => Promise<Config>;
}

/** An option as `util.parseArgs` takes it, with its line of the help. */
export interface CommandOption {
  type: 'string' | 'boolean';
  short?: string;
  multiple?: boolean;
  help: string;
}

export interface Command {
  /** What stands after the name in the help. */
  usage?: string;
  summary: string;
  /** By long name. */
  options?: Readonly<Record<string, CommandOption>>;
  /** Whether it takes words that are no options. */
  positionals?: boolean;
  /** Passes everything after the name on unread, as positionals. */
  raw?: boolean;
  /** The exit status; nothing is 0. What it imports is loaded only when it runs. */
  run: (input: CommandInput) => Promise<number | void>;
}
