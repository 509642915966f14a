import type { StartTaskRepository } from '../db/start-task-repository.js';
import { purposes, type Vault } from './vault.js';

type Artifacts = Pick<
  StartTaskRepository,
  'read' | 'artifact' | 'putArtifact' | 'forgetConversation' | 'passThrough'
>;

/**
 * The start tasks with their artifacts sealed: skills, hooks and the output of a setup script come from repositories and
 * may hold anything, servers of tools with their keys for one. Artifacts of 0.1.0 are in the clear and still read.
 */
export const withSealedArtifacts = (
  startTasks: Artifacts,
  vault: Pick<Vault, 'seal' | 'open'>,
): Artifacts => ({
  read: (taskId) => startTasks.read(taskId),
  forgetConversation: (...given) => startTasks.forgetConversation(...given),
  passThrough: (...given) => startTasks.passThrough(...given),
  async putArtifact(taskId, name, content) {
    const sealed = await vault.seal(purposes.startArtifact(taskId, name), JSON.stringify(content));
    await startTasks.putArtifact(taskId, name, sealed);
  },
  async artifact(taskId, name) {
    const stored = await startTasks.artifact(taskId, name);
    if (typeof stored !== 'string') return stored;
    return JSON.parse(await vault.open(purposes.startArtifact(taskId, name), stored)) as unknown;
  },
});
