/** `docs/states.md`, made from the tables that validators and workflows use; `generate-docs.ts` writes it. */
import {
  OBEYED_IN,
  SANDBOX_ORDERS,
  SANDBOX_STATUSES,
  type SandboxOrder,
  type SandboxStatus,
} from '../contract/sandbox.js';
import { isTerminal, START_STATUSES, type StartStatus } from '../contract/start-task.js';

const START_MEANINGS: Record<StartStatus, string> = {
  WORKING: 'The request is stored; the sandbox is being chosen, or the row of a new one is being made.',
  WAITING_FOR_SANDBOX: 'The sandbox is named. It boots, is resumed, or runs already; the start waits for it.',
  PREPARING_REPOSITORY:
    'The repository is cloned and the branch checked out; without one, nothing or little.',
  RUNNING_SETUP_SCRIPT: "The repository's `.openhands/setup.sh` runs, if there is one.",
  SETTING_UP_GIT_HOOKS:
    "The repository's `.openhands/pre-commit.sh` becomes the pre-commit hook, if there is one.",
  SETTING_UP_SKILLS: 'Skills and hooks of repository, user and server are collected.',
  STARTING_CONVERSATION:
    'The conversation is created on the agent-server, and its row and callbacks are stored.',
  READY: 'The agent has its first message, if there was one; `app_conversation_id` names the conversation.',
  ERROR: 'It failed or was cancelled; `detail` says why and what to do. What was made for it is removed.',
};

const SANDBOX_MEANINGS: Record<SandboxStatus, string> = {
  STARTING: 'It exists, and its agent-server does not answer yet.',
  RUNNING: 'Its agent-server answers. Only now are its addresses and its key shown.',
  PAUSED: 'All its processes are frozen, or were ended with `up`; everything is kept.',
  ERROR: 'It could not be started or resumed; `detail` in its row says why. Its files are kept.',
  MISSING: 'Its process is gone. Its files are kept until it is deleted.',
};

/** A change that comes without an order. */
interface Happening {
  from: SandboxStatus | typeof OUTSIDE;
  to: SandboxStatus;
  why: string;
}

/** Before the first state, and after the last. */
const OUTSIDE = '[*]';

const HAPPENINGS: readonly Happening[] = [
  { from: OUTSIDE, to: 'STARTING', why: 'made' },
  { from: 'STARTING', to: 'RUNNING', why: 'it answers' },
  { from: 'STARTING', to: 'ERROR', why: 'it cannot start' },
  { from: 'RUNNING', to: 'MISSING', why: 'its process ended' },
  { from: 'PAUSED', to: 'ERROR', why: 'it cannot wake' },
];

/** What an order that is obeyed makes of a state. */
const LEADS_TO: Record<SandboxOrder, (from: SandboxStatus) => SandboxStatus | typeof OUTSIDE> = {
  pause: () => 'PAUSED',
  // Without a process to wake there is one to start, in the same directory.
  resume: (from) => (from === 'ERROR' || from === 'MISSING' ? 'STARTING' : 'RUNNING'),
  delete: () => OUTSIDE,
};

/** Content of `docs/states.md`. */
export function statesDocument(): string {
  return [
    '# States',
    '',
    '<!-- Made by `npm run docs` from contract/start-task.ts and contract/sandbox.ts: change those, not this page. -->',
    '',
    'The tables on this page are the ones that the code works with.',
    '',
    '## A start',
    '',
    'A status is stored and announced before the work it names begins. A start passes all of them in this order, also',
    'those in which there is nothing to do, and ends in one of the last two.',
    '',
    '| # | status | what happens in it |',
    '| --- | --- | --- |',
    ...START_STATUSES.map((status, place) => `| ${place + 1} | \`${status}\` | ${START_MEANINGS[status]} |`),
    '',
    ...fenced('mermaid', startDiagram()),
    '',
    '## A sandbox',
    '',
    '| status | what it means |',
    '| --- | --- |',
    ...SANDBOX_STATUSES.map((status) => `| \`${status}\` | ${SANDBOX_MEANINGS[status]} |`),
    '',
    ...fenced('mermaid', sandboxDiagram()),
    '',
    'Orders come from the API, from the command line or by signal, wait in the mailbox of the sandbox and are carried',
    'out one after another. So an order to a sandbox that is STARTING is carried out when its boot has ended; only',
    '`delete` ends the boot. An order that is refused is answered with 409 by the API; a signal that cannot be obeyed',
    'changes nothing. What is done to the processes by hand (SIGSTOP, SIGCONT, a kill) is noticed within a second or two',
    'and shown.',
    '',
    `| status | ${SANDBOX_ORDERS.map((order) => `\`${order}\``).join(' | ')} |`,
    `| --- | ${SANDBOX_ORDERS.map(() => '---').join(' | ')} |`,
    ...SANDBOX_STATUSES.map(
      (status) => `| \`${status}\` | ${SANDBOX_ORDERS.map((order) => effectOf(order, status)).join(' | ')} |`,
    ),
    '',
    'A sandbox that was deleted is in no list any more. Conversations that lived in it show `sandbox_status: MISSING`.',
    '',
  ].join('\n');
}

function effectOf(order: SandboxOrder, status: SandboxStatus): string {
  if (!OBEYED_IN[order].includes(status)) return 'refused';
  const next = LEADS_TO[order](status);
  if (next === status) return 'nothing to do';
  return next === OUTSIDE ? 'gone' : `→ \`${next}\``;
}

function startDiagram(): string[] {
  const passed = START_STATUSES.filter((status) => !isTerminal(status));
  const last = passed.at(-1) ?? 'WORKING';
  return [
    'stateDiagram-v2',
    `[*] --> ${passed[0] ?? last}`,
    ...passed.slice(1).map((status, before) => `${passed[before] ?? last} --> ${status}`),
    `${last} --> READY`,
    ...passed.map((status) => `${status} --> ERROR`),
    'READY --> [*]',
    'ERROR --> [*]',
  ];
}

function sandboxDiagram(): string[] {
  const orders = SANDBOX_ORDERS.flatMap((order) =>
    OBEYED_IN[order]
      .map((from) => ({ from, to: LEADS_TO[order](from), why: order }))
      .filter(({ from, to }) => from !== to),
  );
  return [
    'stateDiagram-v2',
    ...[...HAPPENINGS, ...orders].map(({ from, to, why }) => `${from} --> ${to}: ${why}`),
  ];
}

function fenced(language: string, [first = '', ...rest]: readonly string[]): string[] {
  return [`\`\`\`${language}`, first, ...rest.map((line) => `  ${line}`), '```'];
}
