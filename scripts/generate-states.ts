/** `docs/states.md`, made from the tables that validators and workflows use; `generate-docs.ts` writes it. */
import { SANDBOX_ORDERS, SANDBOX_STATUSES, type SandboxStatus } from '../contract/sandbox.js';
import {
  DELETED,
  RESULTS_OF,
  SANDBOX_LETTERS,
  transition,
  type SandboxAction,
  type SandboxInput,
  type SandboxLetter,
} from '../contract/sandbox-transitions.js';
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
  ERROR:
    'It could not be started or resumed, or its agent-server does not answer; `detail` in its row says why. Its files are kept.',
  MISSING: 'Its process is gone. Its files are kept until it is deleted.',
};

/** What happens without an order, as the columns of a table. */
const HAPPENINGS: Partial<Record<SandboxLetter, string>> = {
  idle: 'idle time is over',
  seenGone: 'its process ends',
  seenPaused: 'frozen by hand',
  seenRunning: 'thawed by hand',
  seenSilent: 'silent for minutes',
  seenAnswering: 'answers again',
};

/** How an input is named in the diagram. An action's usual end goes by the name of what caused it. */
const NAMES: Partial<Record<SandboxInput, string>> = {
  ...HAPPENINGS,
  made: '',
  booted: 'it answers',
  notBooted: 'it cannot start',
  lost: 'its process is gone',
  silent: 'it does not answer',
  notAwakened: 'it cannot wake',
};

const ACTIONS: Record<SandboxAction, string> = {
  boot: 'starts its agent-server in its directory, or takes over the one that runs there',
  restart: 'the same, and first ends one that lives but does not answer within ten seconds',
  suspend:
    'asks running agents to pause, gives them ten seconds for it, and freezes all processes; an agent that is in the middle of a tool call goes on with it after the resume',
  suspendIdle:
    'fetches what has not been heard of it, asks the agent-server what the agents do; freezes all processes, unless one works, a start is under way, a message or event has come, or the agent-server does not say',
  awaken: 'thaws all processes and waits until the agent-server answers',
  destroy: 'ends all processes and removes the directory, however long that takes',
};

/** Before the first state, and after the last. */
const OUTSIDE = '[*]';

/** Content of `docs/states.md`. */
export function statesDocument(): string {
  return [
    '# States',
    '',
    '<!-- Made by `npm run docs` from contract/start-task.ts and contract/sandbox-transitions.ts: change those, not this page. -->',
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
    'out one after another. So an order to a sandbox that is STARTING is carried out when its boot has ended: a pause',
    'is answered when the sandbox is PAUSED, and a start or a message that needs the sandbox meanwhile has it resumed',
    'after that. A resume joins the boot that is under way. `delete` overtakes everything: it ends the boot, pause or',
    'resume that is under way, whoever waits for one of them is told that the sandbox was deleted, and it is tried',
    'until nothing is left. An order that is refused is answered with 409 by the API; a signal that cannot be obeyed',
    'changes nothing. A pause that fails leaves the sandbox as it was, and its answer says why.',
    '',
    ...table(['status', ...SANDBOX_ORDERS.map((order) => `\`${order}\``)], SANDBOX_ORDERS),
    '',
    'What happens without an order is noticed within a second or two where it shows in the processes. An agent-server',
    'that does not answer is asked six times in two minutes before that counts, and nothing is ended for it: it may be',
    'at work. What was seen of an earlier process of the sandbox does not count.',
    '',
    ...table(['status', ...Object.values(HAPPENINGS)], Object.keys(HAPPENINGS) as SandboxLetter[]),
    '',
    'What is done:',
    '',
    ...Object.entries(ACTIONS).map(([action, what]) => `- \`${action}\`: ${what}.`),
    '',
    'A sandbox that was deleted is in no list any more. Conversations that lived in it show `sandbox_status: MISSING`.',
    '',
  ].join('\n');
}

function table(head: readonly string[], inputs: readonly SandboxLetter[]): string[] {
  return [
    `| ${head.join(' | ')} |`,
    `| ${head.map(() => '---').join(' | ')} |`,
    ...SANDBOX_STATUSES.map(
      (status) => `| \`${status}\` | ${inputs.map((input) => effectOf(status, input)).join(' | ')} |`,
    ),
  ];
}

function effectOf(status: SandboxStatus, input: SandboxLetter): string {
  const { to, action, refused } = transition(status, input);
  if (refused) return 'refused';
  // Nothing is dealt with before the boot has ended.
  if (status === 'STARTING' && input !== 'delete') return 'after the boot';
  const shown = to === status ? [] : [`→ \`${to}\``];
  if (action) shown.push(`\`${action}\``);
  return shown.length === 0 ? '–' : shown.join(', ');
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
  const edges = new Map<string, Set<string>>();
  const draw = (from: SandboxStatus, to: SandboxStatus | typeof DELETED, why: readonly SandboxInput[]) => {
    const edge = `${from} --> ${to === DELETED ? OUTSIDE : to}`;
    const names = why.map((input) => NAMES[input] ?? input).filter((name) => name !== '');
    if (from !== to) edges.set(edge, (edges.get(edge) ?? new Set()).add(names.join(', ')));
  };
  for (const from of SANDBOX_STATUSES) {
    for (const letter of SANDBOX_LETTERS) {
      const { to, action } = transition(from, letter);
      if (to === DELETED) continue;
      draw(from, to, [letter]);
      // How a boot ends is drawn once, from STARTING.
      for (const result of action && (to === from || letter === 'made') ? RESULTS_OF[action] : []) {
        draw(to, transition(to, result).to, NAMES[result] === undefined ? [letter] : [letter, result]);
      }
    }
  }
  return [
    'stateDiagram-v2',
    `${OUTSIDE} --> STARTING: made`,
    ...[...edges].map(([edge, why]) => `${edge}: ${[...why].join(' / ')}`),
  ];
}

function fenced(language: string, [first = '', ...rest]: readonly string[]): string[] {
  return [`\`\`\`${language}`, first, ...rest.map((line) => `  ${line}`), '```'];
}
