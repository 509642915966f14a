/**
 * Defects that the Python server is known to have, by the numbers of the contract (section 20), and the tests that show
 * that they do not occur here: those with the number in their title, such as `is 404 for an unknown spec (D26)`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface ReferenceDefect {
  /** Its number: 1 is D1. */
  number: number;
  /** What the Python server does. */
  sentence: string;
  /** What of it holds here too, or why it cannot come up. */
  remark?: string;
}

export interface DefectGroup {
  name: string;
  defects: readonly ReferenceDefect[];
}

const sentences = (first: number, texts: readonly (string | readonly [string, string])[]) =>
  texts.map((text, place): ReferenceDefect => {
    const number = first + place;
    return typeof text === 'string'
      ? { number, sentence: text }
      : { number, sentence: text[0], remark: text[1] };
  });

export const REFERENCE_DEFECTS: readonly DefectGroup[] = [
  {
    name: 'Security',
    defects: sentences(1, [
      'As long as no origins are configured, pages of every site may read answers with the credentials of their visitors.',
      'With the key of any sandbox, events and records of any conversation of the same owner can be written.',
      'A webhook without a key passes for every sandbox that is not running.',
      'The V1 routes answer without the key of the instance.',
      'The key of the instance and the key of a sandbox come in one header, so an instance with a key never hands out secrets.',
      'Names of committers, addresses of repositories and branches reach a shell unquoted.',
      'Events, pending messages and sandboxes are read and changed by their ids, whoever asks.',
      'The file route reads any path, and the list of specs shows the values of forwarded variables.',
    ]),
  },
  {
    name: 'Loss and corruption',
    defects: sentences(9, [
      'Process sandboxes are not told where to send their events: none arrive.',
      'A webhook whose events could not be stored is answered with success, and the agent-server forgets them.',
      'Statistics with a cost fail in the database and take the status of the same batch with them.',
      'Each webhook with a record of a conversation sets its time of creation and its visibility anew.',
      'Whole rows are written from old copies, and generated titles replace those that users chose.',
      'Pending messages are deleted although they could not be delivered, and those of failed starts never are.',
      'Callbacks run beside everything else, and a restart loses them.',
      'Which sandboxes there are is known in memory only: after a restart they run on unknown, and their webhooks are refused.',
      'A start runs inside its request: a restart leaves it unfinished for ever.',
      'One event of a kind that the server does not know makes it refuse the whole batch again and again; events of an unknown conversation are dropped.',
      'What belongs to a deleted conversation stays: events, callbacks, results and pending messages.',
      'A clone or checkout that fails is only logged, and the conversation is READY without its repository.',
      'Paging through events loses one at each page boundary, and times with a zone fail.',
      'The older list of conversations loses some at page boundaries and repeats others.',
      'One bad value in the settings is stored, and from then on they can be neither read nor changed.',
    ]),
  },
  {
    name: 'Wrong answers',
    defects: sentences(24, [
      'A limit of one sandbox makes every start fail, resuming at the limit may pause the same sandbox, and starts at the same time exceed it.',
      'A process sandbox that waits for work is reported as STARTING, without key and address.',
      'Mistakes of clients are answered with 500: malformed ids, unknown specs, missing parents, malformed tokens and others.',
      'A streamed start that is refused is answered with 200 and the beginning of a list.',
      'Counts and lists disagree about sub-conversations, and counts include what belongs to others.',
      'Times of start tasks lose their zone.',
      'Title and visibility of a start are dropped, lists do not tell sub-conversations, reasoning tokens are not told, and the idle time is always the uptime.',
      'The time of the last change does not move when the title does.',
      'Times of events are compared as texts.',
      'Prompts of suggested tasks are looked for in the directory in which the server was started.',
      [
        'When sandboxes cannot be looked at, the answer is that there are none.',
        'There is no Docker backend here: the state of sandboxes is in the database, and without it the answer is 503.',
      ],
    ]),
  },
  {
    name: 'Cost',
    defects: sentences(35, [
      'Each search reads and parses all events of the conversation.',
      'Waiting for a command in a sandbox holds up the whole server.',
      'Lists make one query for each conversation, and a start holds a database session all the time.',
      [
        'The rate limiter throttles webhooks and health checks, counts what it delays, and never forgets an address.',
        'Counted is still in each process by itself: several let that many times the number through.',
      ],
      [
        'Clone and setup script have limits that cannot be changed, and nobody sees how far they are.',
        'How far a clone is, is told by the heartbeats of its activity, which Temporal shows; the start task tells the phase.',
      ],
    ]),
  },
];

export interface DefectTest {
  /** Path in the project. */
  file: string;
  title: string;
}

const TESTS = fileURLToPath(new URL('..', import.meta.url));
/** A text in quotes with numbers of defects in parentheses. */
const TITLE = /(?:^|\(|\s)(['"`])((?:(?!\1).)*\(D\d+(?:, D\d+)*\)(?:(?!\1).)*)\1,/;

/** Tests by the number of the defect that their title, or that of their group, names. */
export function testsOfDefects(): Map<number, DefectTest[]> {
  const found = new Map<number, DefectTest[]>();
  for (const path of readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!path.endsWith('.test.ts') && !path.startsWith('support/contract-cases/')) continue;
    for (const line of readFileSync(join(TESTS, path), 'utf8').split('\n')) {
      const title = TITLE.exec(line)?.[2];
      if (title === undefined) continue;
      for (const [, numbers = ''] of title.matchAll(/\((D\d+(?:, D\d+)*)\)/g)) {
        for (const number of numbers.split(', ').map((text) => Number(text.slice(1)))) {
          const test = { file: join('tests', path), title };
          found.set(number, [...(found.get(number) ?? []), test]);
        }
      }
    }
  }
  return found;
}

/** The part of `docs/compatibility.md` that tells of them. */
export function defectLines(): string[] {
  const tests = testsOfDefects();
  return [
    '## Defects of the reference that do not occur here',
    '',
    'What the Python server is known to do wrong, in one release or several, and the tests that show that Callboard does',
    'not: their titles carry the number. In a title, `%s` and the like stand for the cases that it is run with.',
    '',
    ...REFERENCE_DEFECTS.flatMap(({ name, defects }) => [
      `### ${name}`,
      '',
      ...defects.flatMap(({ number, sentence, remark }) => [
        `- **D${number}** ${sentence}${remark === undefined ? '' : ` _${remark}_`}`,
        ...(tests.get(number) ?? []).map(({ file, title }) => `  - \`${file}\`: ${title}`),
      ]),
      '',
    ]),
  ];
}
