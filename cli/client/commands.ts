import type { CommandInput } from '../command.js';
import { findRunningInstance } from '../instance.js';
import { UserError } from '../user-error.js';
import type { ApiTarget } from './api-client.js';
import { runSandboxes } from './sandboxes.js';
import { runStart } from './start.js';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** The instance a terminal command talks to: `--url`, else the `up` of this data directory, else the configured port. */
async function targetOf({ values, config }: CommandInput): Promise<ApiTarget> {
  const { server, data } = await config();
  const given = text(values['url']);
  if (given !== null && !/^https?:\/\//.test(given))
    throw new UserError('--url takes an address such as http://127.0.0.1:3000.');
  const running = findRunningInstance(data.directory)?.apiUrl;
  return {
    url: (given ?? running ?? `http://${server.host}:${server.port}`).replace(/\/+$/, ''),
    key: server.instanceKey?.reveal() ?? null,
  };
}

export async function startCommand(input: CommandInput): Promise<number> {
  const { values } = input;
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  return runStart({
    target: await targetOf(input),
    message: text(values['message']),
    repository: text(values['repo']),
    branch: text(values['branch']),
    provider: text(values['provider']),
    sandboxId: text(values['sandbox']),
    print,
    signal: stop.signal,
  });
}

export async function sandboxesCommand(input: CommandInput): Promise<void> {
  await runSandboxes(await targetOf(input), input.positionals, print);
}

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
