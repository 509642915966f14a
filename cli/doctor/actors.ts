/** Rows against workflows: each that should have an actor has one, and no actor acts for nothing. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { SandboxActors } from '../../activities/sandbox-actors.js';
import { conversationWorkflowId, startTaskWorkflowId } from '../../contract/ids.js';
import type { DoctorReadModel, DoctoredSandbox, OpenStart } from '../../db/doctor-read-model.js';
import type { SandboxRelease } from '../../db/start-release.js';
import type { StartTaskRepository } from '../../db/start-task-repository.js';
import { someOf, type Report } from './finding.js';

export interface ActorCheckDeps {
  rows: DoctorReadModel;
  actors: Pick<SandboxActors, 'living' | 'lives' | 'revive' | 'requestDelete'>;
  client: Client;
  starts: Pick<StartTaskRepository, 'advance'>;
  release: Pick<SandboxRelease, 'release'>;
  /** Whether secrets of failed starts are kept for a while, so that they can be tried again. */
  keepSecretsOfFailed: boolean;
  /** Has a conversation's actor look at its callbacks. */
  wake: (conversationId: string) => Promise<void>;
  repair: boolean;
  report: Report;
}

/** What was made just now may not have its actor, or its row, yet; in milliseconds. */
const YOUNG_MS = 2 * 60_000;

export async function checkActors(deps: ActorCheckDeps): Promise<void> {
  await checkSandboxes(deps);
  await checkStarts(deps);
  await checkCallbacks(deps);
}

async function checkSandboxes({ rows, actors, repair, report }: ActorCheckDeps): Promise<void> {
  const living = new Set<string>();
  for await (const id of actors.living()) living.add(id);
  const withoutActor: string[] = [];
  const undeleted: string[] = [];
  let sound = 0;
  for await (const sandbox of rows.sandboxes()) {
    const lives = living.delete(sandbox.id);
    if (sandbox.deletedAt && sandbox.status === 'MISSING') continue;
    if (isYoung(sandbox) && (sandbox.deletedAt || !lives)) continue;
    if (lives || (await actors.lives(sandbox.id))) {
      sound++;
      continue;
    }
    (sandbox.deletedAt ? undeleted : withoutActor).push(sandbox.id);
    if (!repair) continue;
    await actors.revive(sandbox);
    if (sandbox.deletedAt) await actors.requestDelete(sandbox.id);
  }
  const withoutRow: string[] = [];
  for (const id of living) {
    if ((await rows.hasSandbox(id)) || !(await actors.lives(id))) continue;
    withoutRow.push(id);
    if (repair) await actors.requestDelete(id);
  }
  const say = sayer(report, repair);
  say('sandboxes', withoutActor, 'have no actor, so that no order reaches them', 'were given one');
  say('sandboxes', undeleted, 'were deleted and are not gone', 'are being deleted');
  say('sandboxes', withoutRow, 'have an actor and no row', 'are being deleted');
  if (withoutActor.length + undeleted.length + withoutRow.length === 0) {
    report({
      level: 'ok',
      about: 'sandboxes',
      text: `${sound} have their actors, and no actor is without a row`,
    });
  }
}

const isYoung = ({ createdAt, deletedAt }: DoctoredSandbox): boolean =>
  Date.now() - (deletedAt ?? createdAt).getTime() < YOUNG_MS;

async function checkStarts(deps: ActorCheckDeps): Promise<void> {
  const { rows, client, repair, report } = deps;
  const abandoned: string[] = [];
  let open = 0;
  for await (const start of rows.openStarts(new Date(Date.now() - YOUNG_MS))) {
    if (await isRunning(client, startTaskWorkflowId(start.id))) {
      open++;
      continue;
    }
    abandoned.push(start.id);
    if (repair) await fail(deps, start);
  }
  sayer(report, repair)('starts', abandoned, 'have not ended and nobody works on them', 'are in ERROR now');
  if (abandoned.length === 0) report({ level: 'ok', about: 'starts', text: `${open} are under way` });
}

/** Brings a start to ERROR, and has the sandbox that was made for it deleted unless somebody else has come to use it. */
async function fail(
  { starts, release, actors, keepSecretsOfFailed }: ActorCheckDeps,
  { id, sandboxId, ownsSandbox }: OpenStart,
): Promise<void> {
  await starts.advance(id, 'ERROR', {
    detail: 'Nobody works on this start any more. Try the start again.',
    keepSecrets: keepSecretsOfFailed,
  });
  if (!ownsSandbox || sandboxId === null) return;
  const hidden = await release.release(sandboxId);
  if (hidden) await actors.requestDelete(sandboxId);
}

async function checkCallbacks({ rows, client, wake, repair, report }: ActorCheckDeps): Promise<void> {
  const forgotten: string[] = [];
  for await (const id of rows.waitingConversations()) {
    if (await isRunning(client, conversationWorkflowId(id))) continue;
    forgotten.push(id);
    if (repair) await wake(id);
  }
  if (forgotten.length === 0) {
    report({ level: 'ok', about: 'callbacks', text: 'none waits without somebody who runs it' });
    return;
  }
  // The API looks every minute: this alone is nothing to act on.
  report({
    level: 'note',
    about: 'callbacks',
    text: `those of ${forgotten.length} conversations wait: ${someOf(forgotten)}`,
    todo: 'a running API takes them up within a minute',
    ...(repair ? { repaired: true } : {}),
  });
}

const sayer =
  (report: Report, repair: boolean) =>
  (about: string, ids: readonly string[], wrong: string, repaired: string): void => {
    if (ids.length === 0) return;
    report({
      level: 'problem',
      about,
      text: `${ids.length} ${wrong}${repair ? `, and ${repaired}` : ''}: ${someOf(ids)}`,
      ...(repair ? { repaired: true } : { todo: './callboard doctor --repair' }),
    });
  };

async function isRunning(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING';
  } catch (err) {
    if (err instanceof WorkflowNotFoundError) return false;
    throw err;
  }
}
