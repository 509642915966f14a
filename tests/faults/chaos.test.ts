import { expect, it } from 'vitest';
import { DEFAULTS } from '../chaos/options.js';
import { runChaos } from '../chaos/run.js';
import { required } from '../support/environment.js';

/** The short form of `npm run chaos`: the seed decides what happens, so a failure can be looked at again. */
const OPTIONS = {
  ...DEFAULTS,
  seed: 20_261_122,
  starts: 20,
  faults: 12,
  real: 0,
  minutes: 0.6,
  patience: 3,
  longOutages: false,
};

it('nothing is lost, doubled, orphaned or stuck when everything is killed and frozen at random', async () => {
  const lines: string[] = [];
  const { report, violations } = await runChaos(OPTIONS, {
    temporalCli: required('TEST_TEMPORAL_CLI'),
    realAgentServer: null,
    note: (line) => lines.push(line),
  });
  expect(violations, `${lines.join('\n')}\n${report}`).toEqual([]);
}, 420_000);
