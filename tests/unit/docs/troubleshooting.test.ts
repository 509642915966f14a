import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { ROOMS } from '../../../scripts/rooms.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Everything the product could say, with breaks in the source made even. */
function product(): string {
  const sources = ROOMS.flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(room, name)),
  );
  return ['callboard', ...sources].map(read).join('\n').replaceAll(/\s+/g, ' ');
}

/** The sentences that the page explains: the first cell of its rows, or the second where the first is a status. */
const sentences = read('docs/troubleshooting.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| --'))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, first = '', second = '']) => (/^\d{3}(?!:)/.test(first) ? second : first))
  .filter((sentence) => !/^(it says|status|body|a list in)/.test(sentence));

it('the page of errors explains sentences that the product really says', () => {
  const said = product();
  expect(sentences.length).toBeGreaterThan(40);
  const unknown = sentences.filter((sentence) =>
    sentence
      .replaceAll('`', '')
      // Where the product puts in a name or a reason, and where two of its sentences meet.
      .split(/…|[()]| \/ |: /)
      .map((piece) => piece.trim().replace(/\.$/, ''))
      .filter((piece) => piece.length >= 8)
      .some((piece) => !said.includes(piece)),
  );
  expect(unknown).toEqual([]);
});
