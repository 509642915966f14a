/** Breaks what the plan says, when it says so. */
import { setTimeout as sleep } from 'node:timers/promises';
import { commandLineOf } from '../../cli/embedded/process-identity.js';
import { recordedAgents } from './agent-processes.js';
import type { Cluster } from './cluster.js';
import { childrenOf, signal, type Member } from './members.js';
import type { PlanClock } from './plan-clock.js';
import type { FaultKind, PlannedFault } from './plan.js';

/** A fault that was injected. */
export interface Injected {
  kind: FaultKind;
  target: string;
  /** Milliseconds since the epoch. */
  from: number;
  /** When it was thawed; the same as `from` for a kill. */
  until: number;
}

export interface FaultInjector {
  readonly injected: readonly Injected[];
  /** Injects all faults of the plan; resolves when the last one is over. */
  run(faults: readonly PlannedFault[], clock: PlanClock): Promise<void>;
}

export function createFaultInjector(cluster: Cluster, note: (line: string) => void): FaultInjector {
  const injected: Injected[] = [];
  const frozenAgents = new Set<number>();

  const freezing = (member: Member | undefined) =>
    member?.freeze() ? { target: member.name, thaw: () => member.thaw() } : null;
  const killing = (member: Member | undefined) => {
    if (!member) return null;
    member.kill();
    return { target: member.name, thaw: () => undefined };
  };
  const at = <Item>(items: readonly Item[], target: number): Item | undefined => items[target % items.length];

  function agent(target: number, name: 'SIGKILL' | 'SIGSTOP') {
    const agents = recordedAgents(cluster.hostDirectories).filter(
      ({ pid, state }) => state === 'running' && !frozenAgents.has(pid),
    );
    const chosen = agents.length === 0 ? undefined : at(agents, target);
    if (!chosen || !signal(chosen.pid, name)) return null;
    if (name === 'SIGSTOP') frozenAgents.add(chosen.pid);
    return {
      target: `${chosen.sandboxId} (${chosen.pid})`,
      thaw: () => {
        if (name === 'SIGSTOP' && frozenAgents.delete(chosen.pid)) signal(chosen.pid, 'SIGCONT');
      },
    };
  }

  /** Backends that serve somebody, or all of them. */
  function backends(target: number, name: 'SIGKILL' | 'SIGTERM') {
    const postmaster = cluster.postmaster();
    const children = postmaster === null ? [] : childrenOf(postmaster);
    const hit =
      name === 'SIGKILL' ? children.slice(target % Math.max(children.length, 1)).slice(0, 1) : children;
    const serving = hit.filter((pid) => name === 'SIGKILL' || isBackend(pid));
    for (const pid of serving) signal(pid, name);
    return serving.length === 0 ? null : { target: serving.join(', '), thaw: () => undefined };
  }

  function strike({ kind, target }: PlannedFault): { target: string; thaw: () => void } | null {
    switch (kind) {
      case 'api killed':
        return killing(at(cluster.apis, target));
      case 'api frozen':
        return freezing(at(cluster.apis, target));
      case 'worker killed':
        return killing(at(cluster.workers, target));
      case 'worker frozen':
        return freezing(at(cluster.workers, target));
      case 'temporal killed':
        return killing(cluster.temporal);
      case 'temporal frozen':
        return freezing(cluster.temporal);
      case 'postgres killed':
        return killing(cluster.postgres);
      case 'postgres frozen':
        return freezing(cluster.postgres);
      case 'postgres backend killed':
        return backends(target, 'SIGKILL');
      case 'postgres connections cut':
        return backends(target, 'SIGTERM');
      case 'agent-server killed':
        return agent(target, 'SIGKILL');
      case 'agent-server frozen':
        return agent(target, 'SIGSTOP');
    }
  }

  async function inject(fault: PlannedFault): Promise<void> {
    let struck = strike(fault);
    // Nothing there to be hit, or it lies down already: a moment later there may be.
    for (let attempt = 0; !struck && attempt < 20; attempt++) {
      await sleep(250);
      struck = strike(fault);
    }
    if (!struck) {
      note(`nothing to be hit: ${fault.kind}`);
      return;
    }
    const from = Date.now();
    const record: Injected = {
      kind: fault.kind,
      target: struck.target,
      from,
      until: from + fault.durationMs,
    };
    injected.push(record);
    note(`${fault.kind}: ${struck.target}${fault.durationMs > 0 ? ` for ${fault.durationMs / 1000} s` : ''}`);
    await sleep(fault.durationMs);
    struck.thaw();
    if (fault.durationMs > 0) record.until = Date.now();
  }

  return {
    injected,
    async run(faults, clock) {
      await Promise.all(
        faults.map(async (fault) => {
          await clock.reach(fault.at);
          await inject(fault);
        }),
      );
    },
  };
}

/** Whether a child of the postmaster serves a client, and is none of its helpers. */
function isBackend(pid: number): boolean {
  return /^postgres: callboard /.test(commandLineOf(pid));
}
