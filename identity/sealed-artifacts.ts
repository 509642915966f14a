import type { StartTaskRepository } from '../db/start-task-repository.js';
import { purposes, type Vault } from './vault.js';

type Artifacts = Pick<
  StartTaskRepository,
  'read' | 'artifact' | 'putArtifact' | 'keepArtifact' | 'forgetConversation' | 'passThrough'
>;

/**
 * The start tasks with their artifacts sealed: skills, hooks and the output of a setup script come from repositories and
 * may hold anything, servers of tools with their keys for one. Artifacts of 0.1.0 are in the clear and still read.
 */
export function withSealedArtifacts(startTasks: Artifacts, vault: Pick<Vault, 'seal' | 'open'>): Artifacts {
  const sealed = (taskId: string, name: string, content: unknown): Promise<string> =>
    vault.seal(purposes.startArtifact(taskId, name), JSON.stringify(content));
  const opened = async (taskId: string, name: string, stored: unknown): Promise<unknown> =>
    typeof stored === 'string'
      ? (JSON.parse(await vault.open(purposes.startArtifact(taskId, name), stored)) as unknown)
      : stored;
  return {
    read: (taskId) => startTasks.read(taskId),
    forgetConversation: (...given) => startTasks.forgetConversation(...given),
    passThrough: (...given) => startTasks.passThrough(...given),
    async putArtifact(taskId, name, content) {
      await startTasks.putArtifact(taskId, name, await sealed(taskId, name, content));
    },
    async keepArtifact(taskId, name, content) {
      const mine = await sealed(taskId, name, content);
      const kept = await startTasks.keepArtifact(taskId, name, mine);
      return kept === mine ? content : opened(taskId, name, kept);
    },
    async artifact(taskId, name) {
      return opened(taskId, name, await startTasks.artifact(taskId, name));
    },
  };
}
