import { setWorkflowOptions, workflowInfo } from '@temporalio/workflow';
import { conversation } from './conversation.js';
import { sandboxPool } from './sandbox-pool.js';
import { sandbox } from './sandbox.js';

/**
 * Where workers are versioned, starts end with the version that began them, and actors, which live longer than any
 * version, move on. An unversioned worker must not say so: the server would refuse its answers.
 */
const movesOn = () =>
  // An unversioned worker has a version of its own too, of no deployment.
  workflowInfo().currentDeploymentVersion?.deploymentName
    ? ({ versioningBehavior: 'AUTO_UPGRADE' } as const)
    : {};
setWorkflowOptions(movesOn, sandbox);
setWorkflowOptions(movesOn, sandboxPool);
setWorkflowOptions(movesOn, conversation);

export { conversation, sandbox, sandboxPool };
export { maintenance } from './maintenance.js';
export { startConversation } from './start-conversation.js';
