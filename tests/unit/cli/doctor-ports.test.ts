/** What `callboard doctor` says of the ports of sandboxes, on systems that give others to outgoing connections. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../../cli/doctor/finding.js';
import { checkPorts } from '../../../cli/doctor/ports.js';
import { loadConfig } from '../../../config/config.js';

describe('the ports of sandboxes', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'callboard-doctor-ports-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  /** @param localPorts content of the system's file, null for a system that has none */
  async function findings(env: Record<string, string>, localPorts: string | null): Promise<Finding[]> {
    const file = join(directory, crypto.randomUUID());
    if (localPorts !== null) await writeFile(file, localPorts);
    const found: Finding[] = [];
    await checkPorts(loadConfig({ env }), (finding) => found.push(finding), file);
    return found;
  }

  it('are sound with the defaults of Callboard and of Linux', async () => {
    expect(await findings({}, '32768\t60999\n')).toEqual([
      {
        level: 'ok',
        about: 'ports',
        text: 'sandboxes get theirs from 20000-27999, outgoing connections from 32768-60999',
      },
    ]);
  });

  it.each([
    ['within', '41000-48999'],
    ['around', '30000-65535'],
    ['below, up to the first', '20000-32768'],
    ['above, from the last', '60999-65535'],
  ])('are worth a hint where they lie %s', async (_, range) => {
    const [finding, ...more] = await findings({ CALLBOARD_PORT_RANGE: range }, '32768\t60999\n');
    expect(more).toEqual([]);
    expect(finding).toMatchObject({
      level: 'note',
      about: 'ports',
      todo: 'set CALLBOARD_PORT_RANGE to a range outside of 32768-60999',
    });
    expect(finding!.text).toContain(`sandboxes get theirs from ${range}`);
  });

  it('are worth a hint where the system was told to give away the default ones', async () => {
    expect(await findings({}, '1024\t65535\n')).toMatchObject([{ level: 'note' }]);
  });

  it('are not spoken of where nothing is known, or sandboxes are no processes', async () => {
    expect(await findings({}, null)).toEqual([]);
    expect(await findings({ RUNTIME: 'docker' }, '1024\t65535\n')).toEqual([]);
  });
});
