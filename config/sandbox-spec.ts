import type { Config } from './config.js';

/** Id of the spec that sandboxes are made from: the image reference of the agent-server (contract 1.2). */
export const defaultSpecId = ({ agentServer }: Pick<Config, 'agentServer'>): string =>
  `${agentServer.imageRepository ?? 'openhands/agent-server'}:${agentServer.imageTag ?? `${agentServer.version}-python`}`;
