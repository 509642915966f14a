import type { CommandInput } from '../command.js';
import { createProgress } from '../progress.js';
import { enginesAtHand } from '../engines-at-hand.js';
import { runReindex } from '../reindex.js';
import { loadMasterKeys } from '../../identity/keys.js';
import { diagnose, follow, temporalClient, type Diagnosis } from './doctor.js';
import type { Finding } from './finding.js';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** `callboard doctor [--repair] [--json]`. */
export async function doctorCommand({ values, config, env }: CommandInput): Promise<number> {
  const asJson = values['json'] === true;
  const diagnosis = await diagnose({
    config: await config(),
    env,
    repair: values['repair'] === true,
    report: (finding) => {
      if (!asJson) print(line(finding));
    },
  });
  if (asJson) print(JSON.stringify(diagnosis, null, 2));
  else printConfiguration(diagnosis);
  return diagnosis.healthy ? 0 : 1;
}

const SIGNS = { ok: '✓', note: '–', problem: '✗' } as const;

function line({ level, about, text, todo, repaired }: Finding): string {
  const sign = repaired ? '✓' : SIGNS[level];
  return `${sign} ${about}: ${text}${todo === undefined ? '' : ` → ${todo}`}${repaired ? ' (repaired)' : ''}`;
}

function printConfiguration({ configuration, healthy }: Diagnosis): void {
  const changed = configuration.filter(({ origin }) => origin !== 'default');
  print('');
  for (const { name, value, origin } of changed) print(`  ${name} = ${value}  (${origin})`);
  print(
    `  The other ${configuration.length - changed.length} settings have their defaults; --json lists them.`,
  );
  print('');
  print(healthy ? 'Nothing needs to be done.' : 'Something needs to be done: see the lines with ✗.');
}

/** `callboard reindex [--conversation ID] [--check] [--from-start]`. */
export async function reindexCommand({ values, config: read }: CommandInput): Promise<number> {
  const config = await read();
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new Error('interrupted: run it again to go on from here')));
  return runReindex({
    config,
    conversation: typeof values['conversation'] === 'string' ? values['conversation'] : null,
    check: values['check'] === true,
    fromStart: values['from-start'] === true,
    progress: createProgress(process.stderr),
    print,
    signal: stop.signal,
    async follow(result) {
      if (result.toFetch.length + result.toWake.length === 0) return;
      const keys = await loadMasterKeys({
        secret: config.keys.master?.reveal() ?? null,
        dataDirectory: config.data.directory,
      });
      const { temporalAddress } = enginesAtHand(config);
      const client = await temporalClient(config, temporalAddress, keys, () => undefined);
      if (!client) return print('Temporal is not at hand: a running API takes it up.');
      try {
        await follow(client, result);
      } catch {
        print('Temporal does not answer: a running API takes it up.');
      } finally {
        await client.connection.close();
      }
    },
  });
}
