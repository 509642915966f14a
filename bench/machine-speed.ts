/**
 * How fast the machine is at the moment: virtual machines are not the same from one hour to the next, and what a
 * hypervisor takes does not always count as stolen.
 */
import { createHash } from 'node:crypto';
import { median } from './statistics.js';

/** How often the work is done for one figure. */
const ROUNDS = 7;
/** How many documents one round writes, hashes and reads. */
const DOCUMENTS = 4_000;

/** Milliseconds that one thread takes for the same piece of work, much like that of a server: texts, hashes, objects. */
export function referenceWork(): number {
  return median(Array.from({ length: ROUNDS }, round));
}

function round(): number {
  const began = performance.now();
  let sum = 0;
  for (let n = 0; n < DOCUMENTS; n++) {
    const text = JSON.stringify({
      id: n,
      kind: 'MessageEvent',
      source: 'user',
      parts: [{ text: `part ${n}` }, { n }],
    });
    const digest = createHash('sha256').update(text).digest('hex');
    sum += Object.keys(JSON.parse(text) as object).length + digest.length;
  }
  if (sum !== DOCUMENTS * (4 + 64)) throw new Error('the work was not done'); // and the compiler may not leave it out
  return performance.now() - began;
}
