/** A boot that waits says that it is alive: without that, it would be begun again after ten seconds beside itself. */
import { once } from 'node:events';
import { MockActivityEnvironment } from '@temporalio/testing';
import { describe, expect, it } from 'vitest';
import {
  createSandboxHostActivities,
  type SandboxHostDeps,
} from '../../../activities/sandbox-host-activities.js';
import { SandboxRefusal, type SandboxHandle } from '../../../sandboxes/backend.js';

const HANDLE: SandboxHandle = {
  backend: 'process',
  port: 40_000,
  url: 'http://127.0.0.1:40000',
  workingDirectory: '/w',
};

/** A boot of a sandbox with these parts in place, up to its launch. */
function boot(
  environment: MockActivityEnvironment,
  parts: { launch?: () => Promise<never>; answers?: () => Promise<boolean> },
) {
  const refuse = () => Promise.reject(new SandboxRefusal('FlockMissing', 'up to here'));
  const deps = {
    hostId: 'host-1',
    backend: {
      find: () => Promise.resolve(HANDLE),
      inspect: () => Promise.resolve({ state: 'running' }),
      launch: parts.launch ?? refuse,
    },
    sandboxes: {
      claim: () => Promise.resolve({ id: 'box-1', hostId: 'host-1', warmSince: null }),
    },
    vault: { open: () => Promise.resolve('key') },
    watcher: { unwatch: () => undefined },
    agents: { answers: parts.answers },
  } as unknown as SandboxHostDeps;
  const activities = createSandboxHostActivities(deps);
  return environment.run(() => activities.boot('box-1', { replaceSilent: parts.answers !== undefined }));
}

describe('a boot says that it is alive while it waits', () => {
  it('for what it launches', async () => {
    const environment = new MockActivityEnvironment();
    const launch = async (): Promise<never> => {
      await once(environment, 'heartbeat');
      throw new SandboxRefusal('FlockMissing', 'after a heartbeat');
    };
    await expect(boot(environment, { launch })).rejects.toThrow('after a heartbeat');
  });

  it('for an agent-server that may be silent', async () => {
    const environment = new MockActivityEnvironment();
    const answers = async (): Promise<boolean> => {
      await once(environment, 'heartbeat');
      return true;
    };
    await expect(boot(environment, { answers })).rejects.toThrow('up to here');
  });
});
