import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Logger } from 'pino';
import type { AgentServerClient } from '../agent-server/client.js';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { purposes, type Vault } from '../identity/vault.js';
import type { KeptFacts } from '../sandboxes/agent-server-facts.js';
import { SandboxRefusal, thingOf, type SandboxBackend, type SandboxHandle } from '../sandboxes/backend.js';
import type { HostWatcher } from '../sandboxes/host-watcher.js';
import { isPortFree } from '../sandboxes/ports.js';
import { awaitReady, SandboxNotReady } from '../sandboxes/readiness.js';
import { createHandshake } from './agent-server-handshake.js';
import { beating, nowAndThen } from './beating.js';
import { candidatePorts, type PortRange } from './port-candidates.js';
import type { PublicSkills } from './public-skills.js';
import type { SandboxAgents } from './sandbox-agents.js';
import { idlenessAfter, type Idleness } from './sandbox-row-activities.js';
import { warmUp } from './sandbox-warm-up.js';
import type { createSandboxSleepActivities } from './sandbox-sleep-activities.js';

export interface SandboxHostDeps {
  /** Id of this machine, as stored in its host directory. */
  hostId: string;
  backend: SandboxBackend;
  sandboxes: SandboxRepository;
  vault: Vault;
  watcher: Pick<HostWatcher, 'watch' | 'unwatch'>;
  agents: Pick<SandboxAgents, 'answers'>;
  /** Where the first start of a sandbox finds what was loaded while it was kept warm. */
  publicSkills: Pick<PublicSkills, 'keep' | 'missed'>;
  /** Address on which sandboxes listen, where ports are tried. */
  address: string;
  ports: PortRange;
  /** Where agent-servers post their webhooks, without trailing slash. */
  webhookBaseUrl: string;
  /** Further variables for every agent-server. */
  environment: Record<string, string>;
  /** How long a boot may show no progress, in milliseconds. */
  startupTimeoutMs: number;
  /** Idle time after which a sandbox is paused, in milliseconds; 0 is never. */
  idlePauseMs: number;
  /** What an earlier worker was told by an agent-server of the same installation. */
  keptFacts: KeptFacts;
  log: Pick<Logger, 'info' | 'warn'>;
  createClient: (target: {
    baseUrl: string;
    sessionApiKey: string;
  }) => Pick<AgentServerClient, 'serverInfo' | 'skills' | 'rehearseStart'>;
}

/** Where a boot ended: here, or it has to go on at the host that claimed the sandbox before. */
export type BootResult =
  | {
      outcome: 'running';
      hostId: string;
      /** Which launched thing it is. */
      thing?: string;
      /** When it is to be looked for the first time whether it is idle. */
      idleness: Idleness;
    }
  | { outcome: 'elsewhere'; hostId: string };

export interface BootOptions {
  /** Ends a process that lives and does not answer; otherwise it is waited for. */
  replaceSilent: boolean;
  /** Number of what is written when it runs: something with a greater one is left as it is. */
  revision?: number;
}

/** How often a boot is tried with another port after somebody took the leased one. */
const PORT_ATTEMPTS = 5;
/** How long a living agent-server may take to answer before it is replaced, in milliseconds. */
const SILENCE_MS = 10_000;

/** What only the machine that owns a sandbox can do. Each may run twice, so each first looks what is there. */
export function createSandboxHostActivities(deps: SandboxHostDeps) {
  const { hostId, backend, sandboxes, vault, watcher, agents } = deps;
  const handshake = createHandshake(deps);

  /** The thing itself, as found on this host; the row's handle is only a note of it. */
  const find = (sandboxId: string): Promise<SandboxHandle | null> => backend.find(sandboxId);

  /** A port of this host that nobody else uses, leased to the sandbox; `refused` ports are not tried again. */
  const leasePort = async (sandboxId: string, refused: ReadonlySet<number>): Promise<number> => {
    // Nearly always that is all: only then, what others have does not have to be read.
    const [wanted] = candidatePorts(deps.ports, sandboxId);
    if (wanted !== undefined && refused.size === 0 && (await isPortFree(deps.address, wanted))) {
      const held = await sandboxes.leaseFirst(hostId, wanted, sandboxId);
      if (held === wanted || (held !== null && (await isPortFree(deps.address, held)))) return held;
    }
    const { own, all } = await sandboxes.leases(hostId, sandboxId);
    if (own !== null && !refused.has(own) && (await isPortFree(deps.address, own))) return own;
    for (const port of candidatePorts(deps.ports, sandboxId)) {
      if (all.has(port) || refused.has(port) || !(await isPortFree(deps.address, port))) continue;
      if (await sandboxes.leasePort(hostId, port, sandboxId)) return port;
    }
    throw ApplicationFailure.nonRetryable(
      `All ports from ${deps.ports.first} to ${deps.ports.last} are in use: delete sandboxes or widen CALLBOARD_PORT_RANGE.`,
      'NoFreePort',
    );
  };

  /** Thaws what is frozen, and ends what has been silent for too long, so that the launch finds nothing in its way. */
  const prepareLaunch = async (row: SandboxRecord, { replaceSilent }: BootOptions): Promise<void> => {
    watcher.unwatch(row.id);
    const handle = await find(row.id);
    if (!handle) return;
    if ((await backend.inspect(row.id, handle)).state === 'paused') await backend.resume(row.id, handle);
    // A later attempt may find what an earlier one has launched, which is still on its way.
    if (!replaceSilent || activityInfo().attempt > 1) return;
    if (await agents.answers(row, handle.url, SILENCE_MS, cancellationSignal())) return;
    deps.log.info({ sandboxId: row.id }, 'ending an agent-server that does not answer, to start it again');
    await backend.halt(row.id, handle);
  };

  const launchAndAwait = async (
    row: SandboxRecord,
    refused: Set<number>,
    revision: number | undefined,
  ): Promise<string> => {
    const sandboxId = row.id;
    const [sessionApiKey, secretKey] = await Promise.all([
      vault.open(purposes.sessionKey(sandboxId), row.sessionApiKey),
      vault.open(purposes.secretKey(sandboxId), row.secretKey),
    ]);
    const port = (await find(sandboxId))?.port ?? (await leasePort(sandboxId, refused));
    const launchedAt = Date.now();
    const launch = {
      sandboxId,
      specId: row.specId,
      port,
      sessionApiKey,
      secretKey,
      webhookBaseUrl: deps.webhookBaseUrl,
      environment: deps.environment,
      isAhead: row.warmSince !== null,
    };
    // What it is to be a copy of may be importing still, or not answer: longer than a boot may be silent.
    const handle = await beating(() => backend.launch(launch));
    await awaitReady({
      backend,
      sandboxId,
      handle,
      startupTimeoutMs: deps.startupTimeoutMs,
      signal: cancellationSignal(),
      secrets: [sessionApiKey, secretKey],
      sessionApiKey,
      onProgress: nowAndThen((probes: number) => heartbeat({ phase: 'booting', port: handle.port, probes })),
    });
    deps.log.info({ sandboxId, bootMs: Date.now() - launchedAt }, 'agent-server answers');
    backend.hasAnswered?.(sandboxId);
    // On a crowded machine a fresh agent-server takes longer to tell than a boot may be silent.
    const { version, usableTools } = await beating(() => handshake(row, handle.url, sessionApiKey));
    await sandboxes.setStatus(sandboxId, 'RUNNING', {
      handle: { ...handle },
      agentServerUrl: handle.url,
      workingDirectory: handle.workingDirectory,
      exposedUrls: [{ name: 'AGENT_SERVER', url: handle.url, port: handle.port }],
      agentServerVersion: version,
      usableTools,
      revision,
    });
    watcher.watch(sandboxId, handle, 'running');
    // It may be given away meanwhile: then it is a step or two less warm.
    if (row.warmSince !== null) {
      warmUp(deps.createClient({ baseUrl: handle.url, sessionApiKey }), handle.workingDirectory)
        .then((skills) => {
          if (skills !== null) return deps.publicSkills.keep(sandboxId, skills);
          deps.log.warn(
            { sandboxId },
            'the public skills did not come in time: starts do without them for now',
          );
          deps.publicSkills.missed();
        })
        .catch((err: unknown) =>
          deps.log.warn({ err, sandboxId }, 'a sandbox that is kept warm could not be warmed up'),
        );
    }
    return thingOf(handle);
  };

  return {
    /**
     * Brings a sandbox up, or takes over what an earlier attempt began, and waits until its agent-server answers.
     * The row is RUNNING when this returns.
     */
    async boot(sandboxId: string, options: BootOptions = { replaceSilent: false }): Promise<BootResult> {
      const row = await sandboxes.claim(sandboxId, hostId);
      if (!row) throw ApplicationFailure.nonRetryable(`sandbox ${sandboxId} was deleted`, 'SandboxDeleted');
      if (row.hostId !== hostId) return { outcome: 'elsewhere', hostId: row.hostId };
      await beating(() => prepareLaunch(row, options));
      const refused = new Set<number>();
      for (let attempt = 1; ; attempt++) {
        try {
          const thing = await launchAndAwait(row, refused, options.revision);
          return { outcome: 'running', hostId, thing, idleness: idlenessAfter(0, deps.idlePauseMs) };
        } catch (err) {
          if (!(err instanceof SandboxNotReady || err instanceof SandboxRefusal)) throw err; // worth another try
          if (err.type !== 'SandboxPortTaken' || attempt === PORT_ATTEMPTS) {
            throw ApplicationFailure.nonRetryable(err.message, err.type);
          }
          const { own } = await sandboxes.leases(hostId, sandboxId);
          if (own !== null) refused.add(own);
        }
      }
    },

    /** Ends it and removes everything of it from this host. */
    async destroy(sandboxId: string): Promise<void> {
      watcher.unwatch(sandboxId);
      await backend.destroy(sandboxId, await find(sandboxId));
    },
  };
}

export type SandboxHostActivities = ReturnType<typeof createSandboxHostActivities> &
  ReturnType<typeof createSandboxSleepActivities>;
