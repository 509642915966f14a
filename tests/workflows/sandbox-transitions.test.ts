import { WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { SANDBOX_ORDERS, SANDBOX_STATUSES, type SandboxStatus } from '../../contract/sandbox.js';
import {
  DELETED,
  RESULTS_OF,
  SANDBOX_INPUTS,
  SANDBOX_LETTERS,
  transition,
  type SandboxAction,
  type SandboxLetter,
  type SandboxResult,
} from '../../contract/sandbox-transitions.js';
import {
  observedSignal,
  sandboxSignal,
  sandboxStateQuery,
  sandboxUpdate,
  type SandboxObservation,
} from '../../workflows/messages.js';
import { SandboxBench, type SandboxActor } from '../support/sandbox-bench.js';

let bench: SandboxBench;
beforeAll(async () => {
  bench = await SandboxBench.open();
});
afterAll(() => bench.close());

/** What an activity of the host is called for an action. */
const ACTIVITY: Record<SandboxAction, string> = {
  boot: 'boot',
  restart: 'boot',
  suspend: 'suspend',
  suspendIdle: 'suspend',
  awaken: 'awaken',
  destroy: 'destroy',
};
const USUAL: Record<SandboxAction, SandboxResult> = {
  boot: 'booted',
  restart: 'booted',
  suspend: 'suspended',
  suspendIdle: 'suspended',
  awaken: 'awakened',
  destroy: 'destroyed',
};
const SEEN: Partial<Record<SandboxLetter, SandboxObservation['state']>> = {
  seenRunning: 'running',
  seenPaused: 'paused',
  seenGone: 'gone',
  seenSilent: 'silent',
  seenAnswering: 'answering',
};

/** Where the table leads to, and by which actions, when the first action ends in a given way and all others well. */
function walk(from: SandboxStatus, letter: SandboxLetter, first?: SandboxResult) {
  const actions: SandboxAction[] = [];
  let status = from;
  let next: SandboxLetter | SandboxResult = letter;
  for (;;) {
    const { to, action } = transition(status, next);
    if (to === DELETED) return { status: DELETED, actions };
    status = to;
    if (!action) return { status, actions };
    actions.push(action);
    next = actions.length === 1 && first !== undefined ? first : USUAL[action];
  }
}

async function send(actor: SandboxActor, letter: SandboxLetter): Promise<void> {
  const seen = SEEN[letter];
  const order = SANDBOX_ORDERS.find((candidate) => candidate === letter);
  if (seen) await actor.signal(observedSignal, { state: seen });
  else if (order) await actor.signal(sandboxSignal(order));
  else await actor.signal('pause', { onlyIfIdle: true });
}

/** Makes the host behave so that the next action ends in that way. */
function arrange(id: string, action: SandboxAction, result: SandboxResult): void {
  const { host } = bench;
  if (result === 'lost') host.things.delete(id);
  if (result === 'busy') host.busy.add(id);
  if (result === 'silent') host.silent.add(id);
  if (result.startsWith('not')) host.failing.set(`${ACTIVITY[action]} ${id}`, 'the disk is full');
  if (result === 'rowDeleted') host.failing.set(`${ACTIVITY[action]} ${id}`, 'SandboxDeleted');
  if (result === 'interrupted') host.held.add(`${ACTIVITY[action]} ${id}`);
}

describe('the table of transitions', () => {
  it('leads from every state to a state, whatever happens', () => {
    for (const status of SANDBOX_STATUSES) {
      for (const input of SANDBOX_INPUTS) {
        const { to, action, refused } = transition(status, input);
        expect([...SANDBOX_STATUSES, DELETED]).toContain(to);
        if (refused) expect([to, action]).toEqual([status, null]);
      }
    }
  });

  it('obeys a deletion in every state, and ends nowhere else', () => {
    for (const status of SANDBOX_STATUSES) {
      expect(walk(status, 'delete')).toEqual({ status: DELETED, actions: ['destroy'] });
      for (const letter of SANDBOX_LETTERS) {
        if (letter !== 'delete') expect(walk(status, letter).status).not.toBe(DELETED);
      }
    }
  });

  it('knows an end of every action in every state in which it can be under way', () => {
    for (const status of SANDBOX_STATUSES) {
      for (const letter of SANDBOX_LETTERS) {
        const { to, action } = transition(status, letter);
        if (!action || to === DELETED) continue;
        for (const result of RESULTS_OF[action]) {
          const next = transition(to, result);
          const stays = ['interrupted', 'busy', 'notSuspended'].includes(result);
          expect(next.to !== to || next.action !== null, `${to} ${result}`).toBe(!stays);
        }
      }
    }
  });
});

describe('the actor', () => {
  const settled = SANDBOX_STATUSES.filter((status) => status !== 'STARTING');
  const letters = SANDBOX_LETTERS.filter((letter) => letter !== 'made');

  it.concurrent.each(settled.flatMap((status) => letters.map((letter) => [status, letter] as const)))(
    'in %s does on %s what the table says',
    async (status, letter) => {
      const actor = await bench.startIn(status);
      const expected = walk(status, letter);
      await send(actor, letter);
      if (expected.status === DELETED) await actor.result();
      else {
        if (expected.actions.length === 0) {
          expect((await bench.reached(actor)).status).toBe(expected.status);
        }
        await vi.waitFor(
          async () => expect((await actor.query(sandboxStateQuery)).status).toBe(expected.status),
          { timeout: 90_000, interval: 20 },
        );
        const shown = bench.host.statuses(actor.sandboxId).at(-1);
        if (shown !== undefined && !expected.actions.some((action) => USUAL[action] === 'booted')) {
          expect(shown).toBe(expected.status);
        }
        await actor.signal(sandboxSignal('delete'));
        await actor.result();
      }
      const destroyed = expected.status === DELETED ? [] : ['destroy'];
      expect(bench.actionsOf(actor.sandboxId)).toEqual([
        ...expected.actions.map((action) => ACTIVITY[action]),
        ...destroyed,
      ]);
      expect(bench.host.things.has(actor.sandboxId)).toBe(false);
    },
  );

  it.concurrent.each(letters.map((letter) => [letter] as const))(
    'in STARTING deals with %s when the boot has ended, only with a deletion at once',
    async (letter) => {
      const sandboxId = randomUUID();
      bench.host.held.add(`boot ${sandboxId}`);
      const actor = await bench.start({ sandboxId });
      await vi.waitFor(() => expect(bench.actionsOf(actor.sandboxId)).toContain('boot'), 90_000);
      await send(actor, letter);
      await bench.reached(actor);
      if (letter === 'delete') await actor.result();
      bench.host.held.delete(`boot ${sandboxId}`);
      const expected =
        letter === 'delete' ? { status: DELETED, actions: ['destroy'] } : walk('RUNNING', letter);
      if (letter !== 'delete') {
        await vi.waitFor(
          async () => expect((await actor.query(sandboxStateQuery)).status).toBe(expected.status),
          { timeout: 90_000, interval: 20 },
        );
        await actor.signal(sandboxSignal('delete'));
        await actor.result();
      }
      expect(bench.actionsOf(actor.sandboxId)).toEqual([
        'boot',
        ...expected.actions.map((action) => ACTIVITY[action as SandboxAction]),
        ...(letter === 'delete' ? [] : ['destroy']),
      ]);
    },
  );

  const ends = settled.flatMap((status) =>
    letters.flatMap((letter) => {
      const { to, action } = transition(status, letter);
      if (!action || to === DELETED || action === 'destroy') return [];
      return RESULTS_OF[action].map((result) => [status, letter, action, result] as const);
    }),
  );
  it.concurrent.each(ends)(
    'in %s, after %s, when %s ends as %s, goes where the table says',
    async (status, letter, action, result) => {
      const actor = await bench.startIn(status);
      arrange(actor.sandboxId, action, result);
      await send(actor, letter);
      const expected = walk(status, letter, result);
      if (result === 'interrupted') {
        await vi.waitFor(() => expect(bench.actionsOf(actor.sandboxId)).toHaveLength(1), 90_000);
        await actor.executeUpdate(sandboxUpdate('delete'));
      } else if (expected.status === DELETED) {
        await actor.result();
      } else {
        await vi.waitFor(
          async () => {
            expect(bench.actionsOf(actor.sandboxId)).toHaveLength(expected.actions.length);
            expect((await actor.query(sandboxStateQuery)).status).toBe(expected.status);
          },
          { timeout: 90_000, interval: 20 },
        );
        await actor.executeUpdate(sandboxUpdate('delete'));
      }
      expect(bench.actionsOf(actor.sandboxId).at(-1)).toBe('destroy');
      expect(bench.host.things.has(actor.sandboxId)).toBe(false);
    },
  );

  it('refuses by update what the table refuses, with the reason', async () => {
    for (const status of SANDBOX_STATUSES) {
      for (const order of SANDBOX_ORDERS) {
        if (!transition(status, order).refused) continue;
        const actor = await bench.startIn(status);
        const refusal: unknown = await actor.executeUpdate(sandboxUpdate(order)).catch((err: unknown) => err);
        expect(refusal).toBeInstanceOf(WorkflowUpdateFailedError);
        const { cause } = refusal as WorkflowUpdateFailedError;
        expect(cause).toBeInstanceOf(ApplicationFailure);
        expect(cause).toMatchObject({
          message: `cannot ${order} a sandbox that is ${status}`,
          type: 'SandboxStatusConflict',
        });
        await actor.executeUpdate(sandboxUpdate('delete'));
      }
    }
  });
});
