/** What sandboxes are made from on this installation. */
import type { Config } from '../config/config.js';
import { defaultSpecId } from '../config/sandbox-spec.js';
import { wireDate } from '../contract/dates.js';
import { MASK } from '../contract/masking.js';
import type { SandboxSpecInfo } from '../contract/sandbox.js';
import type { SettingsStore } from '../identity/settings-store.js';
import type { UserContext } from '../identity/user-context.js';

export interface SandboxSpecs {
  all(): readonly SandboxSpecInfo[];
  exists(specId: string): Promise<boolean>;
  /** The user's default spec if there is such a one, else that of the installation. */
  defaultFor(user: UserContext): Promise<string>;
}

/**
 * The one spec that the configuration describes.
 * @param since when this installation began to offer it
 */
export function createSandboxSpecs(
  config: Pick<Config, 'agentServer' | 'sandboxes'>,
  settings: Pick<SettingsStore, 'read'>,
  since: Date,
): SandboxSpecs {
  const isProcess = config.sandboxes.runtime === 'process';
  const spec: SandboxSpecInfo = {
    id: defaultSpecId(config),
    command: isProcess
      ? [...(config.agentServer.command ?? ['python', '-m', 'openhands.agent_server'])]
      : ['--port', '8000'],
    created_at: wireDate(since),
    // Which variables are handed on is no secret, their values are (defect D8).
    initial_env: Object.fromEntries(Object.keys(config.agentServer.environment).map((name) => [name, MASK])),
    working_dir: isProcess ? '.' : '/workspace/project',
  };
  const exists = (specId: string): Promise<boolean> => Promise.resolve(specId === spec.id);
  return {
    all: () => [spec],
    exists,
    async defaultFor(user) {
      const wanted = (await settings.read(user.userId)).default_sandbox_spec_id;
      return wanted !== null && (await exists(wanted)) ? wanted : spec.id;
    },
  };
}
