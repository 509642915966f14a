import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startContractWorld, type ContractWorld } from '../support/contract-world.js';

const run = promisify(execFile);
const INSTALL = fileURLToPath(new URL('../support/schemathesis/install.sh', import.meta.url));

let world: ContractWorld;
let directory: string;
beforeAll(async () => {
  world = await startContractWorld();
  directory = mkdtempSync(join(tmpdir(), 'callboard-schemathesis-'));
});
afterAll(async () => {
  await world.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Operations that take away what the others need. */
const LAST = '^DELETE|git-providers|provider-tokens|logout';
/** Sends browsers to the identity provider, whose host the tests cannot reach; a case of the contract asks it. */
const ELSEWHERE = '/api/auth/login';
/** A stream for as long as its caller stays: whoever waits for its end waits for ever. */
const ENDLESS = '/api/v1/app-conversations/start-tasks/stream';
/** Their bodies have so many members that to go through all of them takes longer than all other operations. */
const LARGE =
  '^/api/(v1/settings/profiles/.name.|settings|add-git-providers|v1/app-conversations/stream-start)$';

describe('what /openapi.json promises', () => {
  it('is kept whatever is sent, and nothing ends in a server error', async () => {
    const command = (await run('bash', [INSTALL], { maxBuffer: 1 << 26 })).stdout.trim();
    const { things, headers } = await world.somebodyWith(3);
    const config = join(directory, 'schemathesis.toml');
    writeFileSync(config, settingsFor(things, headers));
    for (const part of ['--exclude-name-regex', '--include-name-regex']) {
      const args = [
        'run',
        `${world.url}/openapi.json`,
        part,
        LAST,
        '--exclude-path',
        ELSEWHERE,
        '--exclude-path',
        ENDLESS,
      ];
      const { code, said } = await outcomeOf(command, ['--config-file', config, '--no-color', ...args]);
      expect(code, said).toBe(0);
      expect(said).toMatch(/[1-9]\d* generated, (\d+) passed/);
    }
  }, 600_000);
});

const outcomeOf = (command: string, args: readonly string[]) =>
  new Promise<{ code: unknown; said: string }>((resolve) => {
    execFile(command, args, { cwd: directory, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? (error ? error.message : 0), said: `${stdout}\n${stderr}` }),
    );
  });

type Headers = Awaited<ReturnType<ContractWorld['somebodyWith']>>['headers'];

/**
 * The same requests in each run: nothing depends on earlier answers, and ids are often those of things that are there.
 * Not tried: whether wrong input is refused (1.5 of the contract takes more than is described), and methods that are
 * not described (`contract-cases.test.ts` tries all of them).
 */
function settingsFor(things: readonly Record<string, string>[], headers: Headers): string {
  const names = Object.keys(things[0] ?? {});
  const quoted = JSON.stringify;
  const headersOf = (paths: string, shown: Record<string, string>) => [
    '[[operations]]',
    `include-path-regex = ${quoted(paths)}`,
    `headers = { ${Object.entries(shown)
      .map(([name, value]) => `${name} = ${quoted(value)}`)
      .join(', ')} }`,
  ];
  return [
    'seed = 1',
    'workers = 1',
    'max-redirects = 0',
    'suppress-health-check = ["all"]', // a slow machine is no failure
    'request-timeout = 60',
    'continue-on-failure = true',
    'warnings = false',
    `headers = { Authorization = ${quoted(headers.owner)} }`,
    '[generation]',
    'max-examples = 5',
    'deterministic = true',
    'database = "none"',
    'no-shrink = true',
    '[checks]',
    'enabled = false',
    'not_a_server_error.enabled = true',
    'status_code_conformance.enabled = true',
    'content_type_conformance.enabled = true',
    'response_schema_conformance.enabled = true',
    '[phases]',
    'examples.enabled = false',
    'stateful.enabled = false',
    '[phases.coverage]',
    'unexpected-methods = []',
    'extra-data-sources.responses = false',
    '[phases.fuzzing]',
    'extra-data-sources.responses = false',
    'error-feedback.enabled = false',
    '[dictionaries]',
    ...names.map((name) => `${name} = { values = ${quoted(things.map((each) => each[name]))} }`),
    '[parameters]',
    ...names.map((name) => `"path.${name}" = { dictionary = "${name}", probability = 0.7 }`),
    ...headersOf('/webhooks/secrets', headers.accessToken),
    ...headersOf('/webhooks/.*(conversations|events)|/settings/secrets', headers.sandbox),
    ...headersOf('/temporal-codec/', headers.operator),
    ...headersOf('/service/', headers.service),
    '[[operations]]',
    `include-path-regex = ${quoted(LARGE)}`,
    'include-method = "POST"',
    'phases.coverage.enabled = false',
  ].join('\n');
}
