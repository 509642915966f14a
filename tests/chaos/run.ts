/** One run: plan, installation, users and faults at the same time, rest, report. */
import { rmSync } from 'node:fs';
import pLimit from 'p-limit';
import { startGitServer } from '../support/git-server.js';
import { finish, startScriptedLlm } from '../support/scripted-llm.js';
import { markedProcesses } from './agent-processes.js';
import { Books } from './books.js';
import { createChaosClient } from './client.js';
import { startCluster } from './cluster.js';
import { createFaultInjector } from './faults.js';
import { live } from './life.js';
import { signal } from './members.js';
import type { ChaosOptions } from './options.js';
import { startPlanClock } from './plan-clock.js';
import { makePlan } from './plan.js';
import { reportOf } from './report.js';
import { comeToRest } from './rest.js';
import type { Violation } from './violation.js';

export interface ChaosParts {
  temporalCli: string;
  /** Command of the real agent-server; null when no start asks for it. */
  realAgentServer: string | null;
  /** Told what happens, line by line. */
  note: (line: string) => void;
}

export interface ChaosResult {
  report: string;
  violations: Violation[];
  /** Kept where something was wrong, or where that was asked for; else null. */
  directory: string | null;
}

/** How many are kept warm where sandboxes are forked. */
const WARM = 2;
/** Users at work at a time: with more, two processors only wait for each other. */
const USERS = 12;
const REPOSITORY = 'acme/rocket';

export async function runChaos(options: ChaosOptions, parts: ChaosParts): Promise<ChaosResult> {
  const began = Date.now();
  const note = (line: string): void =>
    parts.note(`${((Date.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}`);
  const plan = makePlan(options);
  note(
    `seed ${options.seed}, plan ${plan.fingerprint}: ${plan.lives.length} starts, ${plan.faults.length} faults`,
  );
  const [llm, git] = await Promise.all([startScriptedLlm({ steps: [finish('Done')] }), startGitServer()]);
  await git.addRepository(REPOSITORY, {
    files: { 'README.md': '# Rocket\n', '.openhands/setup.sh': 'sleep 0.3; echo done >> setup-runs.txt\n' },
  });
  const cluster = await startCluster({
    hosts: options.hosts,
    temporalCli: parts.temporalCli,
    realAgentServer: parts.realAgentServer,
    forked: options.forked,
    env: {
      LLM_MODEL: 'openai/scripted',
      LLM_API_KEY: 'sk-scripted',
      LLM_BASE_URL: llm.url,
      ...(options.forked ? { CALLBOARD_WARM_SANDBOXES: String(WARM) } : {}),
    },
    note,
  });
  let clean = false;
  try {
    const books = new Books();
    const injector = createFaultInjector(cluster, note);
    const client = createChaosClient(cluster, books, injector.injected);
    await client.send('set a token', 'POST', '/api/v1/secrets/git-providers', {
      body: { provider_tokens: { github: { token: 'any', host: git.origin } } },
    });
    note('the installation runs');

    const startedAt = Date.now();
    const users = pLimit(USERS);
    const clock = startPlanClock(() => users.pendingCount > 0);
    let ended = 0;
    await Promise.all([
      injector.run(plan.faults, clock),
      ...plan.lives.map(async (life) => {
        await clock.reach(life.at);
        await users(() => live(life, { client, books, repository: REPOSITORY }));
        if (++ended % 25 === 0) note(`${ended} users are done`);
      }),
    ]);
    const tookMs = Date.now() - startedAt;
    note('all users and faults are done; waiting for rest');
    const outcome = await comeToRest(cluster, client, books, options.patience * 60_000, note);
    const report = reportOf({ options, plan, books, injected: injector.injected, outcome, tookMs });
    clean = outcome.violations.length === 0 && !options.keep;
    return { report, violations: outcome.violations, directory: clean ? null : cluster.directory };
  } finally {
    await cluster.stop();
    // Sandboxes outlive what has started them.
    for (const { pid } of markedProcesses(cluster.hostDirectories)) signal(pid, 'SIGKILL');
    await Promise.all([llm.close(), git.close()]);
    if (clean) rmSync(cluster.directory, { recursive: true, force: true });
  }
}
