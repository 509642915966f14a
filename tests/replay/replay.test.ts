import { DeterminismViolationError } from '@temporalio/workflow';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { bundleWorkflowCode, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { FAILURE_CONVERTER_PATH } from '../../identity/data-converter.js';
import { bundleWorkflows, dataConverter } from '../support/temporal.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const HISTORIES = readdirSync(here('./histories')).filter((file) => file.endsWith('.json'));

describe('a recorded run can be continued by the code of today', () => {
  let workflowBundle: WorkflowBundleWithSourceMap;
  let wrongTwin: WorkflowBundleWithSourceMap;
  beforeAll(async () => {
    workflowBundle = await bundleWorkflows();
    wrongTwin = await bundleWorkflowCode({
      workflowsPath: here('./wrong-twin.ts'),
      failureConverterPath: FAILURE_CONVERTER_PATH,
    });
  });

  it('and there is one of every actor', () => {
    for (const actor of ['startConversation', 'sandbox', 'sandboxPool', 'conversation', 'maintenance']) {
      expect(HISTORIES.some((file) => file.includes(`--${actor}--`))).toBe(true);
    }
  });

  it('and loads no schemas, which every run of a workflow would make anew', () => {
    expect(workflowBundle.code).not.toContain('node_modules/zod/');
  });

  it('and every patch is named by its date', () => {
    const workflows = here('../../workflows');
    const patches = readdirSync(workflows, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) =>
        [
          ...readFileSync(`${workflows}/${file}`, 'utf8').matchAll(
            /(?:deprecatePatch|patched)\(\s*'([^']*)'/g,
          ),
        ].map(([, id]) => id),
      );
    for (const id of patches) expect(id).toMatch(/^20\d\d-(0[1-9]|1[0-2])(-[0-3]\d)?-[a-z]/);
    expect(patches.length).toBeGreaterThan(0);
  });

  // <version>--<workflow>--<case>.json
  it.each(HISTORIES)('%s', async (file) => {
    const history: unknown = JSON.parse(readFileSync(here(`./histories/${file}`), 'utf8'));
    await Worker.runReplayHistory({ workflowBundle, dataConverter }, history, file);
  });

  it('while code that takes other steps is found out', async () => {
    const file = HISTORIES.find((name) => name.includes('--conversation--'))!;
    const history: unknown = JSON.parse(readFileSync(here(`./histories/${file}`), 'utf8'));
    await expect(
      Worker.runReplayHistory({ workflowBundle: wrongTwin, dataConverter }, history, file),
    ).rejects.toThrow(DeterminismViolationError);
  });

  it('because one copy of protobufjs is installed: histories can be written as JSON', () => {
    expect(() => historyToJSON({ events: [] })).not.toThrow();
  });
});
